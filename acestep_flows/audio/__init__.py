"""Audio files, resampling, mixing, loudness, measurements and pictures, without networks (spec 04).

The package must never know torch, checkpoints, stages or graphs.

Begin with `read.py` and `write.py`; the values between them are `acestep_flows.values.Audio`.
"""
