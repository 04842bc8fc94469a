"""Prompt and lyrics: checks, language identification, normalisation per language and tokenisation (spec 03).

The package must never know torch, checkpoints other than the vocabulary file, stages or graphs.

Begin with `lyrics.py`, whose `LyricTokenizer` turns lyrics into token ids.
"""
