from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.sampling.edit import FlowEdit, edit
from acestep_flows.sampling.guidance import apg
from acestep_flows.sampling.noise import RecordedDraws, SeededDraws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.trajectory import Query
from tests.sampling.toy import FRAMES, SEED, Recorder, finish, noise_of, song_of, toy


def edited(minimum: float, maximum: float, averages: int = 1, **choices: Any) -> FlowEdit:
    options = SamplerOptions.model_validate({"steps": 10, **choices})
    return edit(song_of(), options, SeededDraws(SEED), minimum=minimum, maximum=maximum, averages=averages)


def same_on_both_sides(queries: Sequence[Query]) -> list[Tensor]:
    """A network that does not tell source from target."""
    return [torch.sin(query.latents + query.timestep) for query in queries]


def test_no_difference_changes_nothing() -> None:
    assert torch.equal(finish(edited(0.2, 1.0, guidance_scale=1.0), same_on_both_sides).latents, song_of())


def test_leaving_everything_out_changes_nothing() -> None:
    trajectory = edited(1.0, 1.0)
    assert trajectory.steps == 0
    assert torch.equal(finish(trajectory, toy).latents, song_of())


def test_phases() -> None:
    recorder = Recorder()
    trajectory = edited(0.2, 0.5, averages=3)
    finish(trajectory, recorder)
    asked = [tuple(query.branch for query in queries) for queries in recorder.steps]
    carrying, sampling = ("source", "source_null", "target", "target_null"), ("target", "target_null")
    assert asked == [carrying] * 9 + [sampling] * 5
    assert trajectory.steps == 14
    levels = [queries[0].timestep for queries in recorder.steps]
    assert levels == [t for t in trajectory.timesteps[2:5] for _ in range(3)] + list(trajectory.timesteps[5:])


def test_no_weakening_and_no_window() -> None:
    recorder = Recorder()
    finish(edited(0.0, 0.5, guidance_interval=0.0), recorder)
    assert all(recorder.guided)
    assert {query.erg_temperature for queries in recorder.steps for query in queries} == {1.0}


def test_options_without_effect() -> None:
    plain = finish(edited(0.2, 0.6), toy).save()
    for choices in (
        {"guidance": "cfg"},
        {"omega": -50.0},
        {"guidance_decay": 1.0},
        {"solver": "heun"},
        {"oss_steps": (1, 5)},
    ):
        assert finish(edited(0.2, 0.6, **choices), toy).save() == plain


def test_a_carrying_step_averages_over_its_noises() -> None:
    """One step with two noises moves by the mean of what each alone would move."""
    noises = torch.stack([noise_of(1), noise_of(2)])
    options = SamplerOptions(steps=10, guidance_scale=1.0)

    def moved(draws: Tensor, averages: int) -> Tensor:
        shares = {"minimum": 0.9, "maximum": 1.0}
        trajectory = edit(song_of(), options, RecordedDraws(draws), averages=averages, **shares)
        return finish(trajectory, toy).latents - song_of()

    both = moved(noises, 2)
    torch.testing.assert_close(both, (moved(noises[:1], 1) + moved(noises[1:], 1)) / 2, atol=1e-6, rtol=0)


def test_the_song_moves_only_with_the_last_noise_of_a_step() -> None:
    trajectory = edited(0.0, 1.0, averages=2)
    state = trajectory.start()
    half = trajectory.advance(state, toy(trajectory.queries(state)))
    assert torch.equal(half.latents, song_of())
    assert not torch.equal(trajectory.advance(half, toy(trajectory.queries(half))).latents, song_of())


def test_pingpong_carries_as_the_others_do() -> None:
    """Upstream computes the move and drops it: the song never changes."""
    euler, pingpong = (finish(edited(0.0, 1.0, solver=solver), toy) for solver in ("euler", "pingpong"))
    assert pingpong.save() == euler.save()
    stuck = edited(0.0, 1.0, solver="pingpong", compatibility="upstream")
    assert torch.equal(finish(stuck, toy).latents, song_of())


def test_pingpong_samples_with_fresh_noise() -> None:
    euler, pingpong = (finish(edited(0.2, 0.6, solver=solver), toy).latents for solver in ("euler", "pingpong"))
    assert not torch.equal(euler, pingpong)


def test_source_alone_keeps_a_running_difference_while_carried() -> None:
    trajectory = edited(0.0, 0.5)
    state = trajectory.start()
    seen = []
    while not trajectory.done(state):
        state = trajectory.advance(state, toy(trajectory.queries(state)))
        seen.append(sorted(name for name in state.memory if name.startswith("running")))
    assert seen == [["running_source"]] * 4 + [[]] + [["running_target"]] * 5


def test_target_is_guided_without_a_running_difference_while_carried() -> None:
    trajectory = edited(0.0, 1.0)
    velocities = [noise_of(seed) for seed in range(4)]
    source, source_null, target, target_null = velocities
    first = trajectory.advance(trajectory.start(), velocities)
    second = trajectory.advance(first, velocities)
    carried = apg(target, target - target_null, 15.0) - apg(source, 0.25 * (source - source_null), 15.0)
    width = trajectory.levels[2] - trajectory.levels[1]
    torch.testing.assert_close(second.latents, first.latents + width * carried, atol=1e-5, rtol=1e-5)


def test_every_noise_is_drawn_once_and_in_order() -> None:
    noises = torch.stack([noise_of(seed) for seed in range(5)])
    trajectory = edit(song_of(), SamplerOptions(steps=10), RecordedDraws(noises), minimum=0.2, maximum=0.4, averages=2)
    assert int(finish(trajectory, toy).memory["draws"]) == 5  # two steps of two, and one to start sampling


@pytest.mark.parametrize(("minimum", "maximum"), [(0.6, 0.4), (-0.1, 1.0), (0.0, 1.1), (float("nan"), 1.0)])
def test_shares_out_of_order(minimum: float, maximum: float) -> None:
    """Upstream fails late when the maximum lies below the minimum."""
    with pytest.raises(InputError, match="minimum <= maximum"):
        edited(minimum, maximum)


def test_no_average() -> None:
    with pytest.raises(InputError, match="averages"):
        edited(0.0, 1.0, averages=0)


def test_frames() -> None:
    assert edited(0.0, 1.0).frames == FRAMES
