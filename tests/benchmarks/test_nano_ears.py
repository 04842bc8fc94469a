"""The ears of the second edition: regular beats, steep attacks, and probes for voices, on sounds with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.audio.beat import PATTERNS, DrumBeat, beat_track
from benchmarks.nano import listening
from benchmarks.nano.voice import Probe, area_under_curve


def clicks(times: list[float], seconds: float = 8.0) -> listening.Samples:
    track = np.zeros((1, round(seconds * listening.RATE)), np.float32)
    stroke = beat_track(DrumBeat(60.0, {"click": "x..."}, bars=1), 4000)
    for time in times:
        first = round(time * listening.RATE)
        track[0, first : first + 4000] += stroke[: track.shape[1] - first]
    return track


def test_a_regular_beat_is_strong_at_its_own_tempo_only() -> None:
    track = beat_track(DrumBeat(120.0, PATTERNS["house"]), 8 * listening.RATE)[None]
    onsets = listening.onsets(track)
    assert listening.beat_strength(onsets, 120.0) > 0.4
    assert listening.beat_strength(onsets, 104.0) < 0.2


def test_strokes_at_uneven_distances_are_no_beat() -> None:
    random = np.random.default_rng(3)
    uneven = np.cumsum(random.uniform(0.2, 0.8, 15)).tolist()
    assert listening.beat_strength(listening.onsets(clicks(uneven)), 120.0) < 0.2


def test_attacks_are_steep_where_strokes_begin_at_once() -> None:
    sharp = clicks([0.5 * number for number in range(1, 16)])
    soft = np.stack([np.convolve(row, np.hanning(6000) / 3000, "same") for row in np.abs(sharp)]).astype(np.float32)
    bed = 0.03 * np.random.default_rng(1).standard_normal(sharp.shape).astype(np.float32)
    assert listening.attack(sharp + bed) > 10
    assert listening.attack(soft + bed) < 6


def test_the_area_under_the_curve() -> None:
    right = np.array([True, True, False, False])
    assert area_under_curve(np.array([4.0, 3.0, 2.0, 1.0]), right) == 1.0
    assert area_under_curve(np.array([1.0, 2.0, 3.0, 4.0]), right) == 0.0
    assert area_under_curve(np.array([4.0, 1.0, 2.0, 3.0]), right) == pytest.approx(0.5)


def test_a_probe_tells_labels_apart() -> None:
    random = np.random.default_rng(0)
    names = [("a", "i", "u")[number % 3] for number in range(300)]
    rows = np.stack([np.eye(8)[("a", "i", "u").index(name)] for name in names]) + 0.1 * random.standard_normal((300, 8))
    probe = Probe.fit(rows[:200], names[:200])
    assert np.mean([name == heard for name, heard in zip(names[200:], probe.names(rows[200:]), strict=True)]) > 0.95
