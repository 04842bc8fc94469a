"""Synthetic music with known truth: seeded, fast, no downloads.

    piece = render(compose(seed))
    piece.mix, piece.stems, piece.truth, piece.tags, piece.lyrics

Audio is 44.1 kHz stereo, (2, samples) fp32, the rate of the model. The same seed and choices give the same clip.
"""

from __future__ import annotations

from acestep_flows.training.synthesis.compose import compose
from acestep_flows.training.synthesis.piece import Piece
from acestep_flows.training.synthesis.render import render
from acestep_flows.training.synthesis.score import STEMS, Score, Truth
from acestep_flows.training.synthesis.words import vocabulary

__all__ = ["STEMS", "Piece", "Score", "Truth", "compose", "render", "vocabulary"]

VERSION = 1
"""Of the synthesis: higher where the same seed and choices give another clip, so that no old one is taken for it."""
