"""The beat track of a synthetic song: strokes at its tempo, from its first bar on, as the stage `beat` makes them."""

from __future__ import annotations

import numpy as np

from acestep_flows.audio.beat import PATTERNS, DrumBeat, beat_track
from acestep_flows.training.synthesis import Truth
from acestep_flows.values import FloatArray

PATTERN_SHARES = {"style": 0.5, "pulse": 0.2, "click": 0.15, "any": 0.15}
"""How often the pattern is that of the song's style, a certain one, or any: a user's own loop fits no style."""
QUIETEST = -12.0
"""Least level of a beat track in dB; a model should hear strokes, not loudness."""


def draw_beat(truth: Truth, samples: int, random: np.random.Generator) -> FloatArray:
    """A beat for the song with these properties, (2, samples). It says when bars begin, and not how drums sound."""
    choice = str(random.choice(list(PATTERN_SHARES), p=list(PATTERN_SHARES.values())))
    name = {"style": truth.style, "any": str(random.choice(list(PATTERNS)))}.get(choice, choice)
    start = truth.beats[0] if truth.beats else 0.0
    gain = np.float32(10 ** (random.uniform(QUIETEST, 0.0) / 20))
    track = gain * beat_track(DrumBeat(float(truth.tempo), PATTERNS[name], start=start), samples)
    return np.stack([track, track])
