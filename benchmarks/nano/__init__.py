"""What a small checkpoint has learnt, by ear: captions in, audio out, estimates against what was asked.

    python -m benchmarks.nano --checkpoint DIR [--clips 48] [--pairs 32] [--only text control ...] [--out nano.json]

Everything is sampled through the shipped graphs. Captions and clips are synthetic and held out: their seeds lie far
from those that training uses. Each number stands beside the same estimate on real clips (what the ears can tell), on
real clips that went through autoencoder and decoder (what the model could reach), and against other clips' targets
(chance).
"""
