"""Training of every part of a model: data, the loop, the kinds of training, adapter files, and nano from scratch.

This package must never know the HTTP service, bulk jobs or the command line; generation never imports it.
Begin with `loop/recipe.py` (the settings of a training), then `loop/loop.py` (the steps) and `kinds/` (the tasks).
"""
