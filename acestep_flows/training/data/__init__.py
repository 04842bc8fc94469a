"""Training data: song sources, the encode job that turns songs into latents, and the batches drawn from them.

This package must never know what is trained on its songs: it imports nothing from `training.kinds`.
Begin with `song.py` (what a source gives), then `encode.py` (the job) and `encoded.py` (the files it writes).
"""
