"""Executes accepted runs: claims them, plans and computes them, stores their outputs, and sends webhooks.

This package must never know HTTP requests; it reads runs from the store and writes progress and results back.
Begin with `executor.Executor`, then `run_journal` (progress) and `accepted_run` (plans of stored runs).
"""
