"""Checkpoints with random weights, for tests and benchmarks: every stage runs, and what comes out is noise.

It writes the published layout, and must never be imported by what renders songs.
Begin with `random_checkpoint.py`.
"""
