"""The server: graphs over HTTP, a durable table of runs, and the executor that computes them.

This package must never know how a stage computes or where its processes are; it talks to a scheduler and a runner.
Begin with `service.Service` (what routes need), then `http.app` (the interface) and `execution.executor` (the work).
"""
