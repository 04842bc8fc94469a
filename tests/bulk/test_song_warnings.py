"""What the rows of a data set say of their songs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from acestep_flows.bulk.measurements import measure_song
from acestep_flows.bulk.song_warnings import frames_note, is_truncated, song_warnings
from acestep_flows.values import Audio, FloatArray, seconds_from_frames
from tests.bulk.finished import done_row

RATE = 48_000


def told(samples: FloatArray, **cells: Any) -> list[str]:
    """The warnings of a row with this song, which lasts as long as it was asked for unless `cells` say otherwise."""
    audio = Audio(samples.astype(np.float32), RATE)
    known: dict[str, Any] = {
        "duration": audio.seconds,
        "duration_asked": audio.seconds,
        "measurements": measure_song(audio),
    }
    return song_warnings(dataclasses.replace(done_row(0), **(known | {"sample_rate": RATE} | cells)))


def tone(peak: float) -> FloatArray:
    return (peak * np.sin(np.arange(RATE) / 20)[None].repeat(2, 0)).astype(np.float32)


def test_a_good_song_has_none() -> None:
    assert told(tone(0.5)) == []


def test_flat_tops_are_clipped() -> None:
    (warning,) = told(np.clip(tone(2.0), -1, 1))
    assert warning.startswith("clipped: ")
    assert warning.endswith(" runs")


def test_turned_down_peaks_are_not_clipped() -> None:
    assert told(tone(2.0), warnings="turned down by 6.0 dB") == ["turned down by 6.0 dB"]


@pytest.mark.parametrize(("peak", "warning"), [(0.0, "silent"), (1e-4, "almost silent (-83 dBFS)")])
def test_silence(peak: float, warning: str) -> None:
    assert told(tone(peak)) == [warning]


@pytest.mark.parametrize(
    ("asked", "warnings"),
    [(1.0, []), (None, []), (0.9, []), (1 + 0.5 / RATE, []), (1.05, ["1.00 s of the 1.05 s asked"])],
)
def test_a_song_that_is_shorter_than_asked(asked: float | None, warnings: list[str]) -> None:
    assert told(tone(0.5), duration_asked=asked) == warnings


FRAMES = 107
"""Whole frames in ten seconds."""


@pytest.mark.parametrize(
    ("made", "is_expected"),
    [
        (seconds_from_frames(FRAMES), True),
        (round(seconds_from_frames(FRAMES) * RATE) / RATE, True),
        (seconds_from_frames(FRAMES) - 2 / RATE, False),
        (seconds_from_frames(FRAMES - 1), False),
    ],
)
def test_a_song_in_whole_frames_is_as_it_should_be(made: float, is_expected: bool) -> None:
    lengths = {"duration": made, "duration_asked": 10.0}
    assert is_truncated(**lengths, sample_rate=RATE) is is_expected
    assert told(tone(0.5), **lengths) == ([] if is_expected else [f"{made:.2f} s of the 10 s asked"])


def test_a_song_as_long_as_asked_is_not_truncated() -> None:
    assert not is_truncated(10.0, 10.0, RATE)
    assert not is_truncated(10.0, None, RATE)
    assert not is_truncated(None, 10.0, None)
    assert [frames_note(songs).partition(" up")[0] for songs in (1, 2)] == ["1 song is", "2 songs are"]


def test_a_row_of_which_nothing_is_known() -> None:
    bare = dataclasses.replace(
        done_row(0), measurements=None, duration=None, duration_asked=None, sample_rate=None, warnings=None
    )
    assert song_warnings(bare) == []
