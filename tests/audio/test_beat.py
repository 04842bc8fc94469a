"""Beats: strokes where the tempo, the pattern, swing, bars and the start put them, and refusals of what is none."""

from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.audio.beat import PATTERNS, DrumBeat, asks_for_drums, beat_track, read_pattern, style_of
from acestep_flows.audio.drum_sounds import RATE
from acestep_flows.errors import InputError


def times(beat: DrumBeat, seconds: float, voice: str = "kick") -> list[float]:
    return [round(time, 6) for time, name, _ in beat.strokes(seconds) if name == voice]


def test_strokes_are_a_beat_apart() -> None:
    assert times(DrumBeat(120.0), 2.0) == [0.0, 0.5, 1.0, 1.5]
    assert times(DrumBeat(30.0), 5.0) == [0.0, 2.0, 4.0]
    assert len(times(DrumBeat(300.0), 60.0)) == 300


def test_the_track_has_its_strokes_to_the_sample() -> None:
    track = beat_track(DrumBeat(128.0, PATTERNS["click"]), 4 * RATE)
    assert track.shape == (4 * RATE,)
    assert track.dtype == np.float32
    starts = [round(60 / 128 * number * RATE) for number in range(8)]
    loud = np.abs(track) > 1e-4
    silent_before = [not loud[start - 200 : start].any() for start in starts[1:]]
    assert all(silent_before)
    assert all(loud[start : start + 50].any() for start in starts)
    assert np.abs(track).max() < 1.0


def test_bars_swing_and_start() -> None:
    assert times(DrumBeat(120.0, bars=1), 10.0) == [0.0, 0.5, 1.0, 1.5]
    assert times(DrumBeat(120.0, start=0.25), 1.0) == [0.25, 0.75]
    assert times(DrumBeat(120.0, start=-0.25), 1.0) == [0.25, 0.75], "begins within the pattern"
    assert times(DrumBeat(120.0, start=-0.25, bars=1), 10.0) == [0.25, 0.75, 1.25]
    swung = DrumBeat(120.0, {"hat": "xxxx"}, swing=0.5)
    assert times(swung, 0.5, "hat") == [0.0, 0.1875, 0.25, 0.4375]


def test_five_beats_to_the_bar() -> None:
    beat = DrumBeat(120.0, read_pattern("kick x................... / hat x...x...x...x...x..."))
    assert times(beat, 6.0) == [0.0, 2.5, 5.0]
    assert len(times(beat, 5.0, "hat")) == 10


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("polka", "pattern 'polka'.*pulse"),
        ("kick x... / hat x...x...", "different lengths"),
        ("kick x..", "a bar of 3 sixteenths.*20 for 5/4"),
        ("cowbell x...", "voice 'cowbell'.*kick"),
        ("kick x..y", "mark 'y'"),
        ("kick ....", "no stroke"),
        ("", "pattern ''"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read_pattern(pattern)


@pytest.mark.parametrize(
    "choice",
    [{"tempo": 29.0}, {"tempo": 301.0}, {"tempo": float("nan")}, {"bars": 0}, {"swing": 1.0}, {"start": float("inf")}],
)
def test_values_out_of_range_are_refused(choice: dict[str, float]) -> None:
    with pytest.raises(InputError):
        DrumBeat(**{"tempo": 120.0, **choice})  # type: ignore[arg-type]


def test_the_style_in_the_tags_chooses_the_pattern() -> None:
    assert [style_of(tags) for tags in ("deep techno, 128 bpm", "Hip Hop", "lofi beats", "gamelan", "")] == [
        "house", "hip hop", "hip hop", "pulse", "pulse",
    ]  # fmt: skip
    assert {style_of(name) for name in PATTERNS} - {"pulse"} <= set(PATTERNS)


def test_tags_that_name_drums() -> None:
    assert asks_for_drums("house, Drums, 120 bpm")
    assert asks_for_drums("breakbeat")
    assert not asks_for_drums("piano, upbeat, 120 bpm")
