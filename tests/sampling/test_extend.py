from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.sampling.extend import MAX_FRAMES, extend, pads, passes, retake_frames
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.repaint import Painting, Pass
from acestep_flows.sampling.text2music import Denoising
from acestep_flows.sampling.trajectory import State, Trajectory
from tests.sampling.toy import FRAMES, SEED, Recorder, draws_of, extended, finish, noise_of, song_of, toy


def options(**choices: Any) -> SamplerOptions:
    return SamplerOptions.model_validate({"steps": 4, **choices})


def painting(trajectory: Trajectory) -> Painting:
    assert isinstance(trajectory, Painting)
    return trajectory


@given(left=st.integers(0, 3 * FRAMES), right=st.integers(0, 3 * FRAMES), variance=st.floats(0.3, 1))
@settings(max_examples=40, deadline=None)
def test_the_source_stays_and_the_length_is_the_sum(left: int, right: int, variance: float) -> None:
    """Also where an extension is longer than the source, which upstream cannot do."""
    if left == right == 0:
        left = 1
    trajectory = extended(left, right, options(), variance=variance)
    latents = finish(trajectory, toy).latents
    assert trajectory.frames == latents.shape[-1] == left + FRAMES + right
    assert torch.equal(latents[..., left : left + FRAMES], song_of())
    assert latents[..., :left].any() or not left
    assert latents[..., left + FRAMES :].any() or not right


def test_new_frames_start_from_the_retake_noise() -> None:
    noise = painting(extended(2, 3, options())).noise
    retake = noise_of(SEED + 1)
    assert torch.equal(noise, torch.cat([retake[..., :2], noise_of(), retake[..., -3:]], dim=-1))


def test_both_sides_get_what_was_asked() -> None:
    """Upstream takes the left side's frames off the right side."""
    assert pads(-5, 48, 33) == (5, 15)
    assert pads(-5, 48, 33, "upstream") == (5, 10)
    assert pads(-5, 33, 33) == pads(-5, 20, 33) == (5, 0)
    assert pads(0, 43, 33) == pads(0, 43, 33, "upstream") == (0, 10)


@given(
    left=st.integers(0, MAX_FRAMES - 1), frames=st.integers(1, MAX_FRAMES + 200), right=st.integers(0, MAX_FRAMES - 1)
)
def test_passes_paint_every_new_frame_once_and_none_of_the_source(left: int, frames: int, right: int) -> None:
    total = left + frames + right
    painted: list[int] = []
    for sweep in passes(left, frames, right):
        first, last = sweep.window
        assert 0 <= first < last <= total
        assert last - first <= MAX_FRAMES
        assert all(first <= start < stop <= last for start, stop in sweep.painted)
        painted += [frame for start, stop in sweep.painted for frame in range(start, stop)]
    if left or right or total <= MAX_FRAMES:
        assert sorted(painted) == [*range(left), *range(left + frames, total)]


def test_over_the_longest_song_there_are_two_passes() -> None:
    """Upstream fails on the right, and on the left glues the wrong piece back."""
    frames = MAX_FRAMES - 5
    assert passes(10, frames, 0) == (Pass((0, MAX_FRAMES), ((0, 10),)),)
    assert passes(0, frames, 10) == (Pass((5, MAX_FRAMES + 5), ((MAX_FRAMES - 5, MAX_FRAMES + 5),)),)
    both = passes(3, frames, 4)
    assert [sweep.window for sweep in both] == [(0, MAX_FRAMES - 2), (2, MAX_FRAMES + 2)]
    assert [sweep.painted for sweep in both] == [((0, 3),), ((MAX_FRAMES - 2, MAX_FRAMES + 2),)]


def test_two_passes_leave_the_source_and_see_no_more_than_the_longest_song() -> None:
    trajectory = extended(6, 9, options(steps=2), frames=MAX_FRAMES)
    recorder = Recorder()
    latents = finish(trajectory, recorder).latents
    assert torch.equal(latents[..., 6:-9], song_of(frames=MAX_FRAMES))
    assert latents[..., :6].any()
    assert latents[..., -9:].any()
    assert {query.frames for queries in recorder.steps for query in queries} == {MAX_FRAMES}
    assert len(recorder.steps) == trajectory.steps == 4


def test_the_second_pass_sees_what_the_first_painted() -> None:
    """A song short enough that the right pass reaches back into the new left frames."""
    left = MAX_FRAMES - 4
    trajectory = painting(extended(left, 8, options(steps=2)))
    states: list[State] = []
    finish(trajectory, toy, states.append)
    first_pass = states[1].memory["song"]
    assert first_pass[..., :left].any()
    assert not first_pass[..., -8:].any()
    assert torch.equal(states[-1].latents[..., :-8], first_pass[..., :-8])


def test_guidance_starts_afresh_in_the_second_pass() -> None:
    trajectory = extended(2, 2, options(guidance_interval=1.0), frames=MAX_FRAMES)
    state = trajectory.start()
    for _ in range(4):
        assert state.step == 0 or "running_difference" in state.memory
        state = trajectory.advance(state, toy(trajectory.queries(state)))
    assert set(state.memory) == {"song"}


def test_nothing_to_add() -> None:
    """Upstream takes it for a retake."""
    with pytest.raises(InputError, match="less than one frame"):
        extended(0, 0, options())
    assert isinstance(extended(0, 0, options(compatibility="upstream")), Denoising)


@pytest.mark.parametrize(("left", "right"), [(-1, 2), (MAX_FRAMES, 0), (0, MAX_FRAMES)])
def test_sides_out_of_range(left: int, right: int) -> None:
    with pytest.raises(InputError, match="frames"):
        extend(song_of(), noise_of(), noise_of(frames=MAX_FRAMES), left, right, options(), draws_of())


def test_too_little_retake_noise() -> None:
    assert retake_frames(FRAMES, 2, 9) == 9
    with pytest.raises(InputError, match="allowed: 9"):
        extend(song_of(), noise_of(), noise_of(), 2, 9, options(), draws_of())
