"""Synthetic music whose tags, lyrics, beats and stems are known exactly. It is seeded, fast and needs no downloads.

    piece = render(compose(seed))
    piece.mix, piece.stems, piece.truth, piece.tags, piece.lyrics

Audio is stereo at 44.1 kHz, (2, samples) fp32. The same seed and choices give the same clip.
This package must never know what trains on its clips. Begin with `compose.py`, then `render.py`.
"""

from __future__ import annotations

from acestep_flows.training.synthesis.compose import compose
from acestep_flows.training.synthesis.piece import Piece
from acestep_flows.training.synthesis.render import render
from acestep_flows.training.synthesis.score import STEMS, Score, Truth
from acestep_flows.training.synthesis.words import vocabulary

__all__ = ["STEMS", "Piece", "Score", "Truth", "compose", "render", "vocabulary"]

VERSION = 1
"""Raise it when the same seed and choices give another clip, so that stored clips are not mistaken for new ones."""
