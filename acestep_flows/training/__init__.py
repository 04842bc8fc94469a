"""Training of every part of a model: data, the loop, the kinds of training, adapter files, and nano from scratch.

This package must never know the HTTP service or the command line, and nothing that generates songs imports it.
Begin with `loop/recipe.py` (the settings of a training), then `loop/loop.py` (the steps) and `kinds/` (the tasks).
"""
