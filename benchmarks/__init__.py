"""Benchmarks: scripts that write JSON with commit, versions, threads and processor features."""
