"""Where weights come from: the choice between folders, and the resumable download of the published model.

The package must never know torch, stages or graphs, and it never reads tensors.

Begin with `choose.py`, which decides the weights of a run, and `hub.py`, which fetches the published ones.
"""
