"""Slaney's mel scale: linear below 1 kHz (200 / 3 Hz per mel), logarithmic above (27 mels for a factor of 6.4)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from acestep_flows.values import FloatArray

KNEE = 15.0
"""Where the scale turns from linear to logarithmic, in mels: at 1 kHz."""
HERTZ_PER_MEL = 200 / 3
GROWTH = math.log(6.4) / 27


def mel_frequencies(count: int, low: float, high: float) -> NDArray[np.float64]:
    """`count` frequencies (count,) in Hz from `low` to `high`, at equal distances on the mel scale."""
    mels = np.linspace(_mel(low), _mel(high), count)
    above = np.maximum(mels, KNEE)
    frequencies: NDArray[np.float64] = (
        np.where(mels < KNEE, mels, KNEE * np.exp((above - KNEE) * GROWTH)) * HERTZ_PER_MEL
    )
    return frequencies


def mel_filters(bins: int, bands: int, sample_rate: int, low: float, high: float) -> FloatArray:
    """Triangular filters (bins, bands), each of area one; the bins are at 0 to half of `sample_rate`."""
    edges = mel_frequencies(bands + 2, low, high)
    frequencies = np.linspace(0, sample_rate / 2, bins)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    return (np.maximum(np.minimum(rising, falling), 0) * (2 / (right - left))).astype(np.float32)


def _mel(hertz: float) -> float:
    linear = hertz / HERTZ_PER_MEL
    return linear if linear < KNEE else KNEE + math.log(linear / KNEE) / GROWTH
