"""Which songs make which batch: a pure function of seed and number, songs of like length together.

Every song is seen once per round. A round is shuffled, cut into stretches, sorted by length within each, cut into
batches of a budget of frames, and the batches are shuffled. So a batch is of nearly one length, its rows are as many
as the budget allows, and any batch of any round is found without going through those before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from acestep_flows.errors import InputError

STRETCH = 32
"""Batches that are sorted by length together."""
LOOSENESS = 1.25
"""How much longer than the shortest song of a batch the longest may be."""


@dataclass(frozen=True)
class Crop:
    """Song number `song`, frames `start` up to `start + frames`."""

    song: int
    start: int
    frames: int


class SongBatches:
    """The batches over songs of `lengths` frames.

    Args:
        songs: their numbers.
        budget: frames of a batch, padding included.
        rows: songs of a batch at most.
        crop: frames of a song at most; None takes songs whole.
        random_start: share of the songs longer than `crop` that begin anywhere; the others begin at their start.
    """

    def __init__(
        self,
        songs: Sequence[int],
        lengths: Sequence[int],
        seed: int,
        *,
        budget: int,
        rows: int,
        crop: int | None = None,
        random_start: float = 1.0,
    ) -> None:
        if not songs:
            raise InputError("no songs to learn from", where="data")
        self._songs, self._full = np.asarray(songs), np.asarray(lengths)
        self._lengths = np.minimum(self._full, crop) if crop else self._full
        self._seed, self._budget, self._rows, self._random_start = seed, budget, rows, random_start
        self._round = lru_cache(maxsize=4)(self._make_round)
        self._starts: list[int] = [0]

    def batch(self, index: int) -> list[Crop]:
        """The crops of batch `index`, counted from 0 through all rounds."""
        number, within = self._locate(index)
        random = np.random.default_rng([self._seed, 1, index])
        crops = []
        for place in self._round(number)[within]:
            frames, spare = int(self._lengths[place]), int(self._full[place] - self._lengths[place])
            start = int(random.integers(spare + 1)) if spare and random.random() < self._random_start else 0
            crops.append(Crop(int(self._songs[place]), start, frames))
        return crops

    def _locate(self, index: int) -> tuple[int, int]:
        """Rounds differ in their number of batches, as cuts fall differently; their starts are remembered."""
        while self._starts[-1] <= index:
            self._starts.append(self._starts[-1] + len(self._round(len(self._starts) - 1)))
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return number, index - self._starts[number]

    def _make_round(self, number: int) -> list[list[int]]:
        random = np.random.default_rng([self._seed, 0, number])
        order = random.permutation(len(self._songs))
        typical = max(1, min(self._rows, self._budget // max(1, int(self._lengths.mean()))))
        batches: list[list[int]] = []
        for first in range(0, len(order), STRETCH * typical):
            stretch = order[first : first + STRETCH * typical]
            stretch = stretch[np.argsort(self._lengths[stretch], kind="stable")]
            batches += self._cut(stretch.tolist())
        return [batches[place] for place in random.permutation(len(batches))]

    def _cut(self, places: list[int]) -> list[list[int]]:
        """Batches of rising length, each as large as budget and rows allow; a song above the budget stands alone."""
        batches: list[list[int]] = [[]]
        for place in places:
            length = int(self._lengths[place])
            current = batches[-1]
            full = len(current) >= self._rows or (len(current) + 1) * length > self._budget
            if current and (full or length > LOOSENESS * int(self._lengths[current[0]])):
                batches.append(current := [])
            current.append(place)
        return batches
