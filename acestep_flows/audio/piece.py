"""Pieces of a recording, so that work on a long one needs no copy of the whole, or not even the whole."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from acestep_flows.values import FloatArray


def piece(samples: FloatArray, first: int, end: int) -> FloatArray:
    """Samples `first` to `end` of `samples` (channels, n), with zeros before the start and behind the end."""
    length = samples.shape[1]
    inner = samples[:, min(max(first, 0), length) : min(max(end, 0), length)]
    before, behind = min(max(-first, 0), end - first), min(max(end - length, 0), end - first)
    return np.pad(inner, ((0, 0), (before, behind))) if before or behind else inner


class Parts:
    """A recording that comes in consecutive parts, and is read from its start to its end.

    Args:
        parts: (channels, n) of any n.
        length: samples of all parts.
    """

    def __init__(self, parts: Iterable[FloatArray], length: int) -> None:
        self._parts, self._length = iter(parts), length
        self._start, self._end = 0, 0
        self._held: list[FloatArray] = []

    def piece(self, first: int, end: int) -> FloatArray:
        """As `piece` of the whole. Samples before `first` are dropped, so later pieces begin at it or behind it."""
        while self._end < min(end, self._length):
            self._held.append(next(self._parts))
            self._end += self._held[-1].shape[1]
        held = self._held[0] if len(self._held) == 1 else np.concatenate(self._held, axis=1)
        dropped = min(max(first - self._start, 0), held.shape[1])
        self._start += dropped
        self._held = [held[:, dropped:]]
        return piece(self._held[0], first - self._start, end - self._start)
