"""Measure what a small checkpoint has learnt: generate audio for captions and estimate from it what they asked for.

    python -m benchmarks.nano --checkpoint DIR [--clips 48] [--pairs 32] [--only text control ...] [--out nano.json]

All audio is sampled through the shipped graphs. Captions and clips are synthetic and held out: their seeds are far from
those of training. Each number stands beside three others: the same estimate on real clips (the limit of the
estimators), on real clips after autoencoder and decoder (the limit of the model), and against the targets of other
clips (chance). `--table` writes the table of the model card.

Tempo is measured as a user gets it, through `text2music` with whatever beat the checkpoint plays to; `--set beat=none`
leaves that out. What the model makes of a tempo by itself is in `projections`.
"""
