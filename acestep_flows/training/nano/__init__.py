"""acestep-nano: the architecture of ACE-Step v1 at about 1/300 of its size, and the steps that train it from scratch.

This package must never know the loop or a kind of training in detail; it runs them by recipes.
Begin with `architecture.py` (the sizes), then `pipeline.py` (the steps).
"""
