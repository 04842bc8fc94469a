"""Synthetic clips that differ in one property, the tempo or the style, for measuring what a model makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acestep_flows.audio.beat import PATTERNS, DrumBeat, beat_track
from acestep_flows.training.data.song import split_tags
from acestep_flows.training.synthesis import compose, render
from acestep_flows.values import FloatArray

STYLES = ("house", "rock", "hip hop", "synthwave")
"""Styles with a steady beat."""
TEMPOS = (100, 116)
OTHER_STYLE = {"house": "jazz", "rock": "ambient", "hip hop": "orchestral", "synthwave": "folk"}
SECONDS = 5.944
SEED = 77_000


@dataclass(frozen=True)
class ContrastClip:
    """One clip: its mix and its beat track, (2, samples) at 44.1 kHz, and its tags, the tempo first."""

    mix: FloatArray
    beat: FloatArray
    tags: str


@dataclass(frozen=True)
class Contrast:
    """Three clips of one seed: slow, faster, and slow in another style."""

    slow: ContrastClip
    fast: ContrastClip
    other: ContrastClip


def contrasts(style: str, count: int) -> list[Contrast]:
    """The first `count` contrasts of a style of `STYLES`, the same at every call."""
    first = SEED + 1000 * STYLES.index(style)
    slow, fast = TEMPOS
    return [
        Contrast(_example(seed, style, slow), _example(seed, style, fast), _example(seed, OTHER_STYLE[style], slow))
        for seed in range(first, first + count)
    ]


def _example(seed: int, style: str, tempo: int) -> ContrastClip:
    piece = render(compose(seed, seconds=SECONDS, style=style, tempo=tempo, vocal="none", drums=True))
    track = beat_track(DrumBeat(float(tempo), PATTERNS["pulse"]), piece.mix.shape[1])
    tags = sorted(split_tags(piece.tags), key=lambda tag: "bpm" not in tag)
    return ContrastClip(piece.mix, np.stack([track, track]), ", ".join(tags))
