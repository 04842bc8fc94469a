"""Prompt and lyrics: checks, normalisation per language, language identification, tokenisation (spec 03)."""
