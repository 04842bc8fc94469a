from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.sampling.noise import mixed
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.repaint import Painting, repaint
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import State, Trajectory, noised
from tests.sampling.toy import FRAMES, SEED, Recorder, draws_of, finish, noise_of, repainted, song_of, towards, toy


def options(**choices: Any) -> SamplerOptions:
    return SamplerOptions.model_validate({"steps": 10, **choices})


@st.composite
def spans(draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, FRAMES - 1))
    return start, draw(st.integers(start + 1, FRAMES))


def outside(tensor: Tensor, span: tuple[int, int]) -> Tensor:
    return torch.cat([tensor[..., : span[0]], tensor[..., span[1] :]], dim=-1)


@given(
    span=spans(),
    variance=st.floats(0, 1),
    steps=st.integers(1, 8),
    solver=st.sampled_from(("euler", "heun", "pingpong")),
)
@settings(max_examples=60, deadline=None)
def test_what_lies_outside_the_span_stays_as_it_is(
    span: tuple[int, int], variance: float, steps: int, solver: str
) -> None:
    trajectory = repainted(span, options(steps=steps, solver=solver), variance)
    latents = finish(trajectory, toy).latents
    assert torch.equal(outside(latents, span), outside(song_of(), span))
    if trajectory.steps:
        assert not torch.equal(latents, song_of())


@given(span=spans())
@settings(max_examples=20, deadline=None)
def test_estimates_show_the_source_outside_and_the_new_inside(span: tuple[int, int]) -> None:
    target = noise_of(55)
    trajectory = repainted(span, options(guidance_scale=1.0))
    states: list[State] = []
    finish(trajectory, towards(target), states.append)
    expected = song_of().clone()
    expected[..., span[0] : span[1]] = target[..., span[0] : span[1]]
    for state in states:
        estimate = trajectory.estimate(state)
        assert torch.equal(outside(estimate, span), outside(song_of(), span))
        torch.testing.assert_close(estimate, expected, atol=1e-4, rtol=1e-4)


def test_starts_from_the_source_at_the_first_level_kept() -> None:
    trajectory = repainted((2, 5), options(), variance=0.7)
    assert isinstance(trajectory, Painting)
    assert trajectory.first == 3
    assert trajectory.steps == 7
    start = noise_of().clone()
    start[..., 2:5] = mixed(noise_of(), noise_of(SEED + 1), 0.7)[..., 2:5]
    torch.testing.assert_close(
        trajectory.start().latents, noised(song_of(), start, trajectory.levels[3]), atol=1e-6, rtol=0
    )


def test_steps_keep_their_number_for_the_window() -> None:
    recorder = Recorder()
    finish(repainted((2, 5), options(), variance=0.7), recorder)
    assert recorder.guided == [2 <= step < 7 for step in range(3, 10)]


def test_variance_zero_is_the_source() -> None:
    """Upstream returns raw noise."""
    assert torch.equal(finish(repainted((2, 5), options(), 0.0), toy).latents, song_of())
    torch.testing.assert_close(
        finish(repainted((2, 5), options(compatibility="upstream"), 0.0), toy).latents, noise_of()
    )


def test_a_span_over_everything_still_starts_from_the_source() -> None:
    """Upstream takes it for a retake and forgets the source."""
    whole = (0, FRAMES)
    painted = repainted(whole, options(), 0.5)
    assert isinstance(painted, Painting)
    assert painted.steps == 5
    retake = text2music(mixed(noise_of(), noise_of(SEED + 1), 0.5), options(compatibility="upstream"), draws_of())
    upstream = repainted(whole, options(compatibility="upstream"), 0.5)
    assert torch.equal(finish(upstream, toy).latents, finish(retake, toy).latents)


def test_solver_has_no_effect() -> None:
    """Upstream runs heun's doubled list, half of whose steps have no length."""
    euler = finish(repainted((2, 5), options()), toy)
    for solver in ("heun", "pingpong"):
        assert finish(repainted((2, 5), options(solver=solver)), toy).save() == euler.save()
    doubled = repainted((2, 5), options(solver="heun", compatibility="upstream"))
    assert doubled.steps == 19 - 3


def test_steps_left_out_are_counted_in_those_that_run() -> None:
    """Upstream counts them in the largest number of the OSS list, and may leave nothing."""
    picked = {"oss_steps": (3, 6, 9, 12)}
    assert repainted((2, 5), options(**picked), 0.5).steps == 2
    nothing = repainted((2, 5), options(**picked, compatibility="upstream"), 0.5)
    assert nothing.steps == 0


@pytest.mark.parametrize("span", [(-1, 3), (3, 3), (4, 2), (0, FRAMES + 1)])
def test_span_outside_of_the_song(span: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="span"):
        repainted(span, options())


@pytest.mark.parametrize("variance", [-0.1, 1.01, float("nan")])
def test_variance_out_of_range(variance: float) -> None:
    with pytest.raises(InputError, match="variance"):
        repainted((2, 5), options(), variance)


@pytest.mark.parametrize("lengths", [(FRAMES + 1, FRAMES), (FRAMES, FRAMES - 1)])
def test_noise_of_another_length(lengths: tuple[int, int]) -> None:
    def wrong() -> Trajectory:
        noise, retake = (noise_of(frames=length) for length in lengths)
        return repaint(song_of(), noise, retake, (2, 5), 0.5, options(), draws_of())

    with pytest.raises(InputError, match="noise"):
        wrong()
