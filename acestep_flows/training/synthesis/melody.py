"""Tunes: a motif of two bars, repeated and answered, that leans on the chord of the moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acestep_flows.training.synthesis.theory import scale_pitch

STEPS = 16  # in a bar
_MOVES = (-2, -1, -1, -1, 0, 1, 1, 1, 2)


def onsets(rhythm: str) -> list[tuple[int, int]]:
    """(step, length) of each `x`, held over the `-` that follow."""
    found = []
    for step, mark in enumerate(rhythm):
        if mark not in ".-":
            length = 1
            while step + length < len(rhythm) and rhythm[step + length] == "-":
                length += 1
            found.append((step, length))
    return found


class Tune:
    """Makes bars of melody for one piece; the same bar of a phrase has the same shape each time it comes back."""

    def __init__(self, random: np.random.Generator, key: int, mode: str, low: int, high: int) -> None:
        self.random, self.key, self.mode, self.low, self.high = random, key, mode, low, high
        self.contours: dict[tuple[int, int], list[int]] = {}
        steps = [step for step in range(-14, 30) if low <= scale_pitch(key, mode, step) <= high]
        self.lowest, self.highest = steps[0], steps[-1]
        self.home = steps[len(steps) // 2]

    def bar(self, bar: int, chord: int, places: Sequence[int]) -> list[int]:
        """Pitches for notes at steps `places` of a bar over the chord on a degree. Bars 0 and 2 share a shape."""
        shape = (0, 1, 0, 2)[bar % 4]
        moves = self.contours.get((shape, len(places)))
        if moves is None:
            moves = [int(move) for move in self.random.choice(_MOVES, len(places))]
            self.contours[shape, len(places)] = moves
        step = self.home
        pitches: list[int] = []
        for place, move in zip(places, moves, strict=True):
            step += move
            if place % 4 == 0 or not pitches:
                step = self._chord_step(step, chord)
            if not self.lowest <= step <= self.highest:
                step = self._chord_step(self.home, chord)
            pitches.append(scale_pitch(self.key, self.mode, step))
        return pitches

    def _chord_step(self, step: int, chord: int) -> int:
        """The nearest scale step that belongs to the triad."""
        members = {(chord + third) % 7 for third in (0, 2, 4)}
        return min(
            (step + away for away in (0, -1, 1, -2, 2)), key=lambda near: (near % 7 not in members, abs(near - step))
        )
