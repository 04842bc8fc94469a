from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.stages.length import Length
from acestep_flows.values import frames_covering, frames_from_seconds, seconds_from_frames


def length(**params: Any) -> Length.Out:
    return Length().run_one(Length.In(), Length.Params(**params))


def test_a_song_that_is_shorter_than_asked_says_so() -> None:
    out = length(seconds=10)
    assert (out.seconds, out.total) == (10, 10)
    assert out.report.entries == {
        "length": {"asked": 10, "made": 9.938141},
        "warnings": ["9.94 s of the 10 s asked, in whole frames; exact_length=true makes all of it"],
    }


def test_an_exact_length_is_one_frame_more() -> None:
    out = length(seconds=10, exact=True)
    assert frames_from_seconds(out.seconds) == frames_from_seconds(10) + 1
    assert out.report.entries == {"length": {"asked": 10, "made": 10}, "warnings": []}


def test_whole_frames_need_no_more() -> None:
    asked = seconds_from_frames(107)
    assert length(seconds=asked, exact=True).seconds == asked
    assert length(seconds=asked).report.entries["warnings"] == []
    assert length(seconds=0, exact=True).seconds == 0


def test_sections_and_sides_are_counted() -> None:
    out = length(seconds=60, sections=["[verse]", "[outro]"])
    assert out.total == 180
    assert out.report.entries["length"]["made"] == pytest.approx(3 * seconds_from_frames(frames_from_seconds(60)))
    left = length(seconds=3, of="left").report.entries
    assert left["length_left"] == {"asked": 3, "made": 2.972154}
    assert left["warnings"] == ["left: 2.97 s of the 3 s asked, in whole frames; exact_length=true makes all of it"]


@given(seconds=st.floats(0, 240))
def test_the_frames_that_cover_a_length_are_the_fewest(seconds: float) -> None:
    frames = frames_covering(seconds)
    assert seconds_from_frames(frames) >= seconds
    assert frames == 0 or seconds_from_frames(frames - 1) < seconds


def test_the_longest_song_has_no_frame_more() -> None:
    out = length(seconds=240, exact=True)
    assert out.seconds == 240
    assert out.report.entries["warnings"] == ["239.91 s of the 240 s asked, in whole frames; the longest there is"]
    assert length(seconds=239.9, exact=True).report.entries["warnings"] == []
