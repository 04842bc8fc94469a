"""Recipes as the start of a new run, for every door: ours and those of ACE-Step v1.

`graph.records` writes recipes. This package reads them again, from JSON or from the tags of an audio file, finds the
files that they name, and carries their inputs over to the same graph or to another one. Begin with `read.py`.
"""
