"""The sixteen stages that graphs are made of: typed, deterministic functions over a batch of songs.

A stage declares its ports and parameters; the checker, the HTTP schema, the command line and `docs/stages.md` are made
from the declarations. Stages must never know graphs, other stages' outputs, or where they run, and declaring one must
import neither torch nor ray.

Begin with `contract.py`, then a small stage such as `trim.py`. `batching.py` says how a batch is worked through,
`diffusion.py` holds what the stages that denoise have in common, `registry.py` lists them all.
"""
