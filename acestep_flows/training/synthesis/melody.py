"""Melodies: a two-bar motif that is repeated and answered, with chord tones on the beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from acestep_flows.training.synthesis.theory import scale_pitch

STEPS = 16  # in a bar
_MOVES = (-2, -1, -1, -1, 0, 1, 1, 1, 2)


def onsets(rhythm: str) -> list[tuple[int, int]]:
    """(step, length) of each note in a rhythm such as "x--.x---", where "-" holds a note and "." rests."""
    notes = []
    for step, mark in enumerate(rhythm):
        if mark not in ".-":
            length = 1
            while step + length < len(rhythm) and rhythm[step + length] == "-":
                length += 1
            notes.append((step, length))
    return notes


class Tune:
    """Makes the bars of a melody. A bar of a phrase has the same contour each time the phrase returns."""

    def __init__(self, random: np.random.Generator, key: int, mode: str, low: int, high: int) -> None:
        self.random, self.key, self.mode, self.low, self.high = random, key, mode, low, high
        self.contours: dict[tuple[int, int], list[int]] = {}
        steps = [step for step in range(-14, 30) if low <= scale_pitch(key, mode, step) <= high]
        self.lowest, self.highest = steps[0], steps[-1]
        self.home = steps[len(steps) // 2]

    def bar(self, bar: int, chord: int, steps: Sequence[int]) -> list[int]:
        """Pitches of notes at `steps` of a bar, over the chord on degree `chord`. Bars 0 and 2 share a contour."""
        shape = (0, 1, 0, 2)[bar % 4]
        moves = self.contours.get((shape, len(steps)))
        if moves is None:
            moves = [int(move) for move in self.random.choice(_MOVES, len(steps))]
            self.contours[shape, len(steps)] = moves
        scale_step = self.home
        pitches: list[int] = []
        for step, move in zip(steps, moves, strict=True):
            scale_step += move
            if step % 4 == 0 or not pitches:
                scale_step = self._chord_step(scale_step, chord)
            if not self.lowest <= scale_step <= self.highest:
                scale_step = self._chord_step(self.home, chord)
            pitches.append(scale_pitch(self.key, self.mode, scale_step))
        return pitches

    def _chord_step(self, step: int, chord: int) -> int:
        """The nearest scale step that belongs to the triad."""
        members = {(chord + third) % 7 for third in (0, 2, 4)}
        return min(
            (step + away for away in (0, -1, 1, -2, 2)), key=lambda near: (near % 7 not in members, abs(near - step))
        )
