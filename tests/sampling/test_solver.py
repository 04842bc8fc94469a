from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.sampling.noise import Draws, SeededDraws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.schedule import even_schedule
from acestep_flows.sampling.solver import Heun, MeanShift, Solver, granularity, make_solver
from acestep_flows.values import Compatibility
from tests.sampling.toy import draws_of, noise_of

SOLVERS = ("euler", "heun", "pingpong")


def solver_of(name: str, steps: int = 4, omega: float = 0.0, draws: Draws | None = None) -> Solver:
    options = SamplerOptions.model_validate({"solver": name, "omega": omega})
    return make_solver(options, even_schedule(steps), draws or draws_of())


@pytest.mark.parametrize(("omega", "weight"), [(0, 1.0), (10, 1.0462117), (-100, 0.9000091), (100, 1.0999909)])
def test_granularity(omega: float, weight: float) -> None:
    assert granularity(omega) == pytest.approx(weight, abs=1e-7)


@given(omega=st.floats(-100, 100))
def test_granularity_keeps_the_mean(omega: float) -> None:
    increment = noise_of()
    shifted = MeanShift(omega)(increment)
    torch.testing.assert_close(shifted.mean(), increment.mean(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("compatibility", "alone"), [("corrected", True), ("upstream", False)])
def test_mean_is_taken_per_song(compatibility: Compatibility, alone: bool) -> None:
    """Upstream takes one mean over all songs of a batch."""
    shift = MeanShift(10.0, compatibility)
    first, second = noise_of(1), noise_of(2) + 5
    together = shift(torch.stack([first, second]))
    assert torch.allclose(together[0], shift(first), atol=1e-6) is alone


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_straight_path_ends_at_the_song(name: str, steps: int) -> None:
    """With the true velocity every solver lands on the song, however few the steps."""
    song, noise = noise_of(5), noise_of(6)
    solver = solver_of(name, steps)
    latents, memory = noise, solver.start()
    for k in range(solver.evaluations):
        sigma = solver.schedule.sigmas[solver.level(k)]
        latents, memory = solver.step(k, latents, (latents - song) / sigma, memory)
    torch.testing.assert_close(latents, song, atol=1e-4, rtol=1e-4)


def test_heun_asks_twice_per_step_save_the_last() -> None:
    heun = solver_of("heun", 3)
    assert heun.evaluations == 5
    assert [heun.level(k) for k in range(5)] == [0, 1, 1, 2, 2]
    assert [heun.transition(k) for k in range(5)] == [0, 0, 1, 1, 2]
    assert Heun(even_schedule(0), MeanShift(0.0)).evaluations == 0


def test_heun_averages_two_slopes_from_where_the_step_began() -> None:
    heun = solver_of("heun", 3)
    origin, v1, v2 = noise_of(1), noise_of(2), noise_of(3)
    _, memory = heun.step(0, origin, v1, {})
    corrected, memory = heun.step(1, noise_of(9), v2, memory)  # the latents in between do not count
    width = heun.schedule.sigmas[1] - heun.schedule.sigmas[0]
    torch.testing.assert_close(corrected, origin + width * (v1 + v2) / 2)
    assert not memory


class CountingDraws(SeededDraws):
    drawn = 0

    def draw(self, position: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        type(self).drawn += 1
        return super().draw(position, shape)


def test_pingpong_draws_in_every_step_the_last_included() -> None:
    pingpong = solver_of("pingpong", 3, draws=CountingDraws(1))
    latents, memory = noise_of(), pingpong.start()
    for k in range(pingpong.evaluations):
        latents, memory = pingpong.step(k, latents, latents / 2, memory)
    assert CountingDraws.drawn == 3


def test_pingpong_ignores_omega() -> None:
    latents = [solver_of("pingpong", omega=omega) for omega in (-50.0, 50.0)]
    first, second = (solver.step(0, noise_of(1), noise_of(2), solver.start())[0] for solver in latents)
    assert torch.equal(first, second)
