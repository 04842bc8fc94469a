"""A clip's labels can be measured in its stems: tonic, mode, beats, and onsets of syllables."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from numpy.typing import NDArray

from acestep_flows.training.synthesis import VERSION, Piece, compose, render

RATE = 44_100
HOP = 441
"""Samples of 10 ms, between two measurements of loudness."""

Signal = NDArray[np.float32]


def pieces(*needed: str, count: int = 6) -> list[Piece]:
    """The first clips, by seed, that have the stems `needed`."""
    matching: list[Piece] = []
    for seed in range(200):
        score = compose(seed)
        if set(needed) <= set(score.truth.parts):
            matching.append(render(score))
        if len(matching) == count:
            break
    return matching


def chroma(sound: Signal, low: float, high: float) -> NDArray[np.float64]:
    """Energy (12,) of each pitch class, C first, from `low` to `high` Hz."""
    powers = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    hertz = np.fft.rfftfreq(len(sound), 1 / RATE)
    in_range = (hertz > low) & (hertz < high)
    classes = np.round(69 + 12 * np.log2(hertz[in_range] / 440)).astype(int) % 12
    return np.bincount(classes, powers[in_range], 12).astype(np.float64)


def lowest_class(sound: Signal) -> int:
    """Pitch class of a bass note, from the maximum of its autocorrelation."""
    size = 2 * len(sound)
    autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(sound, size)) ** 2)[: len(sound)]
    first, last = RATE // 200, RATE // 28
    lag = first + int(np.argmax(autocorrelation[first:last] / (len(sound) - np.arange(first, last))))
    return round(69 + 12 * float(np.log2(RATE / lag / 440))) % 12


def decibels(sound: Signal) -> NDArray[np.float64]:
    """Loudness every 10 ms."""
    frames = sound[: len(sound) // HOP * HOP].reshape(-1, HOP).astype(np.float64)
    powers: NDArray[np.float64] = np.square(frames).mean(axis=1)
    return np.asarray(10 * np.log10(powers + 1e-10), np.float64)


def test_a_piece_begins_on_its_tonic() -> None:
    """In every progression the bass begins on the tonic, which distinguishes a key from its relative."""
    correct = []
    for piece in pieces("bass", count=12):
        beat = piece.stems["bass"].mean(axis=0)[: round(60 / piece.truth.tempo * RATE)]
        correct.append(lowest_class(beat) == piece.truth.key)
    assert all(correct)


def test_the_third_above_the_tonic_is_that_of_the_mode() -> None:
    for piece in pieces("chords", count=12):
        classes = chroma(piece.sum("chords", "lead").mean(axis=0), 60, 700)
        minor, major = classes[(piece.truth.key + 3) % 12], classes[(piece.truth.key + 4) % 12]
        assert (minor > 4 * major) if piece.truth.mode == "minor" else (major > 4 * minor), piece.truth


def test_drum_onsets_are_on_beats_and_not_between_steps() -> None:
    for piece in pieces("drums"):
        rises = np.diff(decibels(piece.stems["drums"].mean(axis=0))).clip(0)
        step = 60 / piece.truth.tempo / 8  # half of the finest step

        def strength(times: NDArray[np.float64], rises: NDArray[np.float64] = rises) -> float:
            frames = [round(time * RATE / HOP) for time in times]
            return float(
                np.mean([rises[frame - 2 : frame + 3].max() for frame in frames if 3 < frame < len(rises) - 4])
            )

        beats = np.array(piece.truth.beats)
        assert strength(beats) > 4 * strength(beats + step), piece.truth


def test_vowels_begin_at_the_labelled_times() -> None:
    for piece in pieces("vocal"):
        loud = decibels(piece.stems["vocal"].mean(axis=0))
        times = np.arange(len(loud)) * HOP / RATE
        starts, ends = (np.array([syllable[column] for syllable in piece.truth.syllables]) for column in (1, 2))
        sung = ((times >= starts[:, None]) & (times < ends[:, None])).any(axis=0)
        near = ((times > starts[:, None] - 0.12) & (times < ends[:, None] + 0.25)).any(axis=0)
        if (~near).sum() > 5:
            assert loud[sung].mean() - loud[~near].mean() > 30

        def rise(offset: float, loud: NDArray[np.float64] = loud, starts: NDArray[np.float64] = starts) -> float:
            """Mean increase in level from the 40 ms before each start, moved by `offset`, to the 40 ms after it."""
            frames = [round((start + offset) * RATE / HOP) for start in starts if 0.4 < start < len(loud) / 100 - 0.4]
            return float(np.mean([loud[frame : frame + 4].mean() - loud[frame - 4 : frame].mean() for frame in frames]))

        offsets = np.arange(-20, 21) / 100
        rises = [rise(offset) for offset in offsets]
        assert abs(offsets[int(np.argmax(rises))]) <= 0.03, piece.truth
        assert max(rises) > 3


def test_a_seed_gives_the_same_piece_within_a_version() -> None:
    """If this fails on purpose, raise VERSION, so that stored clips are not mistaken for new ones."""
    truths = []
    for seed in range(20):
        truth = compose(seed).truth
        truths.append([truth.style, truth.tempo, truth.key, truth.mode, truth.instruments, truth.vocal, truth.mood])
    digest = hashlib.sha256(json.dumps(truths).encode()).hexdigest()
    assert (VERSION, digest[:16]) == (1, "a2ad6fb46f976f40")


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_the_tonic_distinguishes_relative_keys(mode: str) -> None:
    """Relative keys have the same seven pitch classes and different tonics."""
    piece = render(compose(5, mode=mode, vocal="none"))
    relative = (piece.truth.key + (9 if mode == "major" else 3)) % 12
    beat = piece.stems["bass"].mean(axis=0)[: round(60 / piece.truth.tempo * RATE)]
    assert lowest_class(beat) != relative
