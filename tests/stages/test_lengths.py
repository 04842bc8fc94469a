from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.stages.lengths import frames_covering, frames_to_make, length_warning
from acestep_flows.stages.registry import stages
from acestep_flows.values import frames_from_seconds, seconds_from_frames


@given(seconds=st.floats(0, 240))
def test_the_frames_that_cover_a_length_are_the_fewest(seconds: float) -> None:
    frames = frames_covering(seconds)
    assert seconds_from_frames(frames) >= seconds
    assert frames == 0 or seconds_from_frames(frames - 1) < seconds


@given(frames=st.integers(0, 2584))
def test_whole_frames_need_no_more_and_are_no_warning(frames: int) -> None:
    seconds = seconds_from_frames(frames)
    assert frames_to_make(seconds, exact=True) == frames_to_make(seconds, exact=False) == frames
    assert length_warning(seconds, exact=False) is None


@given(seconds=st.floats(0, 240))
def test_an_exact_length_is_never_short(seconds: float) -> None:
    assert length_warning(seconds, exact=True) is None


def test_a_length_that_is_not_met_is_a_warning() -> None:
    assert length_warning(10, exact=False) == (
        "9.94 s of the 10 s asked, in whole frames; exact_length=true makes all of it"
    )
    assert frames_to_make(10, exact=False) == frames_from_seconds(10) == frames_to_make(10, exact=True) - 1


@pytest.mark.parametrize(
    ("stage", "params", "warnings"),
    [
        ("init_noise", {"seed": 1, "duration": 10}, ["9.94 s of the 10 s asked"]),
        ("init_noise", {"seed": 1, "duration": 10, "exact_length": True}, []),
        ("init_noise", {"seed": 1}, []),
        ("repaint", {"left": 3, "right": 0.5}, ["left: 2.97 s of the 3 s asked", "right: 0.46 s of the 0.5 s asked"]),
        ("repaint", {"left": 3, "exact_length": True}, []),
        ("vocode", {"seconds": 10}, []),
    ],
)
def test_stages_that_make_a_length_warn_of_it(stage: str, params: dict[str, float], warnings: list[str]) -> None:
    kind = stages()[stage]
    said = kind.warnings(kind.Params(**params))
    assert [warning.partition(", in whole")[0] for warning in said] == warnings
