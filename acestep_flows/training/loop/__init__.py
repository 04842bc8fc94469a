"""The training loop shared by every kind of training: recipes, steps, saved states, curves, and several workers.

This package must never know what is trained: a kind of training is a `Task`, found by its name in `recipe.KINDS`.
Begin with `task.py` (what a task provides), then `loop.py` (the steps) and `run.py` (what a state holds).
"""
