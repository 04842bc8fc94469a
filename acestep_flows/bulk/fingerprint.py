"""Audio fingerprints: find songs that sound the same among thousands, whatever their encoding or level.

After Haitsma and Kalker (A Highly Robust Audio Fingerprinting System, 2002): eight times a second, a word of 32 bits
says in which bands the energy rises against the next. Words of unrelated music differ in half of their bits. Unlike
digests, fingerprints survive lossy encoding, gain and a little noise; they do not survive another tempo or pitch.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acestep_flows.audio import spectrum
from acestep_flows.audio.resample import resample
from acestep_flows.values import Audio

RATE = 11_025
FFT_SIZE = 4096  # 0.37 s: neighbouring windows overlap by two thirds, so a shift by half a hop changes few bits
HOP = 1378  # 1/8 s
BITS = 32
LOWEST, HIGHEST = 200.0, 4000.0  # Hz; every codec keeps these
QUIET = 1e-9  # -90 dBFS: words of silence say nothing, and are zero

SAME = 0.7
"""Songs with a higher similarity are duplicates. Unrelated songs reach 0.5 to 0.6, a copy moved by half a hop 0.75."""
SHIFTS = 4  # words, either way: half a second of silence cut off or put before
SHARED = 0.75  # the share of the longer song that must overlap

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Duplicate:
    """A song that sounds like an earlier one."""

    id: str
    of: str
    similarity: float


def fingerprint(audio: Audio) -> str:
    """The words of a song, four little-endian bytes each, in base64; empty for silence and for a split second."""
    # Not `at_rate`: fingerprints of stored jobs were made with this filter.
    coarse = Audio(resample(audio.samples, audio.sample_rate, RATE), RATE)
    levels = np.concatenate(list(spectrum.power(coarse, fft_size=FFT_SIZE, hop=HOP)))
    edges = np.geomspace(LOWEST, HIGHEST, BITS + 2) * FFT_SIZE / RATE
    bands = np.add.reduceat(levels, edges.astype(int), axis=1)[:, :-1]  # (frames, 33)
    slopes = np.diff(bands, axis=1)
    rising = np.diff(slopes, axis=0) > 0  # (frames - 1, 32)
    rising[bands[1:].sum(axis=1) < QUIET] = False
    if not rising.any():
        return ""
    return base64.b64encode(np.packbits(rising, axis=1, bitorder="little").tobytes()).decode()


def similarity(first: str, second: str) -> float:
    """The share of equal bits, 0..1, at the best alignment of the songs; 0 where they overlap too little."""
    return _similarity(_words(first), _words(second))


def duplicates(prints: Iterable[tuple[str, str]], same: float = SAME) -> list[Duplicate]:
    """Every song that sounds like an earlier one, with the earliest it is like; `prints` are ids and fingerprints.

    Songs are compared where they share at least one word, so this takes time in proportion to the songs, not to their
    pairs. A copy of five seconds that differs in a tenth of its bits may go unseen; longer or closer ones do not.
    """
    ids, songs = [], []
    for id, words in prints:
        if words:
            ids.append(id)
            songs.append(_words(words))
    earliest: dict[int, tuple[int, float]] = {}
    for song, later in sorted(_candidates(songs), key=lambda pair: (pair[1], pair[0])):
        if later in earliest:
            continue
        root = earliest[song][0] if song in earliest else song
        likeness = _similarity(songs[root], songs[later])
        if likeness >= same:
            earliest[later] = root, likeness
    return [Duplicate(ids[song], ids[root], likeness) for song, (root, likeness) in sorted(earliest.items())]


def _words(content: str) -> Words:
    return np.frombuffer(base64.b64decode(content), "<u4")


def _similarity(first: Words, second: Words) -> float:
    best, needed = 0.0, SHARED * max(len(first), len(second))
    for shift in range(-SHIFTS, SHIFTS + 1):
        left, right = first[max(0, shift) :], second[max(0, -shift) :]
        length = min(len(left), len(right))
        if length == 0 or length < needed:
            continue
        differing = int(np.bitwise_count(left[:length] ^ right[:length]).sum())
        best = max(best, 1 - differing / (BITS * length))
    return best


def _candidates(songs: list[Words]) -> set[tuple[int, int]]:
    """Pairs (earlier, later) of songs that share a word, each word linking its songs in a chain and to the first."""
    if not songs:
        return set()
    owners: NDArray[Any] = np.repeat(np.arange(len(songs)), [len(song) for song in songs])
    words = np.concatenate(songs)
    sounding = words != 0
    words, owners = words[sounding], owners[sounding]
    order = np.lexsort((owners, words))
    words, owners = words[order], owners[order]
    begins = np.flatnonzero(np.diff(words, prepend=~words[:1]))
    firsts = np.repeat(owners[begins], np.diff(begins, append=len(words)))
    chained = words[1:] == words[:-1]
    pairs = np.concatenate([np.stack([firsts, owners], 1), np.stack([owners[:-1], owners[1:]], 1)[chained]])
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    return {(int(earlier), int(later)) for earlier, later in pairs}
