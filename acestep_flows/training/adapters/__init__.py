"""Adapter files: read LoRA adapters in several formats, convert them, and merge them into a checkpoint.

This package must never know how an adapter was trained; it sees matrices and their scaling only.
Begin with `files.py`, then `merge.py`.
"""
