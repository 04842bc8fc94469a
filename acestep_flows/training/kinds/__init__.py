"""The kinds of training: autoencoder, spectral vocoder (`decoder`), diffusion transformer, LoRA, control branch.

This package must never know how steps are run, saved or shared among workers; that is `training.loop`.
Begin with `song_task.py`, which diffusion, LoRA and control share, or with `autoencoder.py` for the audio parts.
"""
