"""Short songs for tests: chords that a seed chooses, with a little noise."""

from __future__ import annotations

import numpy as np

from acestep_flows.values import Audio


def chords(seed: int, seconds: float = 6.0, rate: int = 22_050) -> Audio:
    """Two chords a second, each of three plucked tones between 220 and 1760 Hz, in stereo."""
    draw = np.random.default_rng(seed)
    beat = np.arange(rate // 2) / rate
    parts = []
    for _ in range(round(seconds * 2)):
        tones = 220 * 2 ** (draw.integers(0, 36, 3) / 12)
        parts.append(np.sin(2 * np.pi * np.outer(tones, beat)).sum(axis=0) * np.exp(-3 * beat))
    mono = np.concatenate(parts) / 6
    mono += 0.01 * draw.standard_normal(len(mono))
    return Audio(np.stack([mono, mono]).astype(np.float32), rate)
