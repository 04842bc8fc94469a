"""Peaks: the lowest and highest sample of short stretches, for drawing a waveform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acestep_flows.values import Audio

FULL_SCALE = 127


def peaks(audio: Audio, per_second: int) -> NDArray[np.int8]:
    """Lowest and highest sample of each stretch, over all channels: (stretches, 2), -127 to 127.

    Args:
        per_second: stretches in a second; the last one may be shorter. Above the sample rate, one for each sample.
    """
    samples = audio.samples.shape[1]
    count = min(samples, -(-samples * per_second // audio.sample_rate))
    starts = np.arange(count) * samples // count if count == samples else _starts(count, audio.sample_rate, per_second)
    lowest = np.minimum.reduceat(audio.samples.min(axis=0), starts)
    highest = np.maximum.reduceat(audio.samples.max(axis=0), starts)
    scaled = np.stack([lowest, highest], axis=1).clip(-1, 1) * FULL_SCALE
    return scaled.round().astype(np.int8)


def _starts(count: int, sample_rate: int, per_second: int) -> NDArray[np.int64]:
    """The first sample of each stretch."""
    return np.arange(count, dtype=np.int64) * sample_rate // per_second
