"""A piece of a recording, so that work on a long one needs no copy of the whole."""

from __future__ import annotations

import numpy as np

from acestep_flows.values import FloatArray


def piece(samples: FloatArray, first: int, end: int) -> FloatArray:
    """Samples `first` to `end` of `samples` (channels, n), with zeros before the start and behind the end."""
    length = samples.shape[1]
    inner = samples[:, min(max(first, 0), length) : min(max(end, 0), length)]
    before, behind = min(max(-first, 0), end - first), min(max(end - length, 0), end - first)
    return np.pad(inner, ((0, 0), (before, behind))) if before or behind else inner
