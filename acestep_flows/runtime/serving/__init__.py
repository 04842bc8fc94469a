"""Stages as Ray Serve deployments. What it takes is said by a pool file; Ray is imported in here and nowhere below."""
