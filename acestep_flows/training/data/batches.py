"""Batches of songs of similar length, as a pure function of the seed and the batch's number.

A round visits every song once. A round is made in four steps: shuffle the songs, cut them into stretches, sort each
stretch by length and cut it into batches within a budget of frames, then shuffle the batches. So the songs of a batch
have nearly one length, a batch has as many rows as the budget allows, and any batch of any round can be computed
without the batches before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from acestep_flows.errors import InputError

STRETCH = 32
"""Batches per stretch of songs that is sorted by length."""
LOOSENESS = 1.25
"""Longest length in a batch over its shortest, at most."""


@dataclass(frozen=True)
class Crop:
    """Latent frames `start` to `start + frames` (exclusive) of song number `song`."""

    song: int
    start: int
    frames: int


class SongBatches:
    """The endless sequence of batches over a set of songs.

    Args:
        songs: numbers of the songs.
        lengths: latent frames of each song, in the same order.
        budget: most latent frames in a batch, padding included. A longer song is a batch of its own.
        rows: most songs in a batch.
        crop: most latent frames taken of a song; None takes whole songs.
        random_start: share of the songs longer than `crop` that are cropped at a random place. The others are
            cropped at their beginning.

    Raises:
        InputError: there are no songs.
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
        self._songs, self._full_lengths = np.asarray(songs), np.asarray(lengths)
        self._lengths = np.minimum(self._full_lengths, crop) if crop else self._full_lengths
        self._seed, self._budget, self._rows, self._random_start = seed, budget, rows, random_start
        self._round = lru_cache(maxsize=4)(self._make_round)
        self._round_starts: list[int] = [0]

    def batch(self, index: int) -> list[Crop]:
        """The crops of batch `index`. Batches are counted from 0 through all rounds."""
        round_number, position = self._locate(index)
        random = np.random.default_rng([self._seed, 1, index])
        crops = []
        for song in self._round(round_number)[position]:
            frames, spare = int(self._lengths[song]), int(self._full_lengths[song] - self._lengths[song])
            start = int(random.integers(spare + 1)) if spare and random.random() < self._random_start else 0
            crops.append(Crop(int(self._songs[song]), start, frames))
        return crops

    def _locate(self, index: int) -> tuple[int, int]:
        """The round of batch `index`, and the batch's position in it.

        Rounds differ in their number of batches, so the first batch of every round is remembered.
        """
        while self._round_starts[-1] <= index:
            self._round_starts.append(self._round_starts[-1] + len(self._round(len(self._round_starts) - 1)))
        round_number = int(np.searchsorted(self._round_starts, index, side="right")) - 1
        return round_number, index - self._round_starts[round_number]

    def _make_round(self, number: int) -> list[list[int]]:
        """Batches of round `number`, each a list of positions in `songs`."""
        random = np.random.default_rng([self._seed, 0, number])
        order = random.permutation(len(self._songs))
        typical_rows = max(1, min(self._rows, self._budget // max(1, int(self._lengths.mean()))))
        batches: list[list[int]] = []
        for first in range(0, len(order), STRETCH * typical_rows):
            stretch = order[first : first + STRETCH * typical_rows]
            stretch = stretch[np.argsort(self._lengths[stretch], kind="stable")]
            batches += self._cut(stretch.tolist())
        return [batches[position] for position in random.permutation(len(batches))]

    def _cut(self, songs: list[int]) -> list[list[int]]:
        """Cut songs of rising length into batches, each as large as budget and rows allow."""
        batches: list[list[int]] = [[]]
        for song in songs:
            length = int(self._lengths[song])
            current = batches[-1]
            full = len(current) >= self._rows or (len(current) + 1) * length > self._budget
            if current and (full or length > LOOSENESS * int(self._lengths[current[0]])):
                batches.append(current := [])
            current.append(song)
        return batches
