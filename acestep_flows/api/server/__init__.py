"""Starts a server: it assembles scheduler, executor and service, in one process or in a Ray Serve deployment.

This package must never know routes or tables; it connects finished parts and handles signals, sockets and shutdown.
Begin with `assembly.assemble`, then `server.serve_forever` (one machine) or `ingress.ingress` (an existing Ray).
"""
