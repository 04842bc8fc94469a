"""Training of every part of a model: data, the loop, the kinds of training, adapter files, and nano from scratch.

This package must never know the HTTP service, bulk jobs or the command line; generation never imports it.
Begin with `loop/recipe.py` (what a training is told), then `loop/loop.py` (the steps) and `kinds/` (what is learnt).
"""
