"""The networks of ACE-Step v1 as torch modules, and the checkpoints they are loaded from.

The package must never know samplers, stages, graphs, processes or HTTP.

Begin with `checkpoint.py`, which opens a folder of weights, and `transformer.py`, the denoiser.
"""
