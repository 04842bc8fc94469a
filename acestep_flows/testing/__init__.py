"""Checkpoints with random weights, for tests and benchmarks.

This package must never be imported by the product: its weights make noise, not music.
Begin with `random_checkpoint.write_random_checkpoint`.
"""
