from __future__ import annotations

from typing import Any

import pytest
import torch

from acestep_flows.sampling.noise import mixed
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.text2music import text2music
from tests.sampling.toy import Recorder, draws_of, finish, noise_of, toy


def options(**choices: Any) -> SamplerOptions:
    return SamplerOptions.model_validate({"steps": 8, **choices})


def song(**choices: Any) -> torch.Tensor:
    return finish(text2music(noise_of(), options(**choices), draws_of()), toy).latents


def guided(**choices: Any) -> list[bool]:
    recorder = Recorder()
    finish(text2music(noise_of(), options(**choices), draws_of()), recorder)
    return recorder.guided


@pytest.mark.parametrize("choice", [{"solver": "euler"}, {"solver": "pingpong"}, {"guidance": "cfg"}])
def test_one_song_is_the_same_in_both_compatibilities(choice: dict[str, Any]) -> None:
    torch.testing.assert_close(song(**choice), song(**choice, compatibility="upstream"), atol=1e-6, rtol=0)


def test_retake_of_variance_zero_is_the_original() -> None:
    again = text2music(mixed(noise_of(), noise_of(9), 0.0), options(), draws_of())
    assert torch.equal(finish(again, toy).latents, song())


def test_window_is_the_middle_of_the_steps() -> None:
    assert guided() == [False, False, True, True, True, True, False, False]
    assert not any(guided(guidance_scale=1.0))


def test_heun_counts_the_window_in_steps() -> None:
    """Predictor and corrector of a step are treated alike. Upstream counts evaluations, so guides the first half."""
    steps = [step for step in range(8) for _ in range(2)][:-1]
    assert guided(solver="heun") == [2 <= step < 6 for step in steps]
    assert guided(solver="heun", compatibility="upstream") == [2 <= k < 6 for k in range(15)]


def test_heun_of_picked_steps() -> None:
    """Upstream refuses the combination."""
    trajectory = text2music(noise_of(), options(solver="heun", oss_steps=(2, 5, 9)), draws_of())
    assert trajectory.steps == 5
    assert finish(trajectory, toy).latents.isfinite().all()


def test_window_of_picked_steps_is_counted_in_them() -> None:
    assert guided(oss_steps=(2, 5, 9, 12)) == [False, True, True, False]


def test_cfg_star_leaves_the_first_step_out() -> None:
    trajectory = text2music(noise_of(), options(guidance="cfg_star"), draws_of())
    state = trajectory.start()
    after = trajectory.advance(state, toy(trajectory.queries(state)))
    assert torch.equal(after.latents, state.latents)


def test_null_branch_alone_is_weakened() -> None:
    recorder = Recorder()
    choices = options(guidance_scale_text=5.0, guidance_scale_lyric=2.0)
    finish(text2music(noise_of(), choices, draws_of()), recorder)
    weakened = {(query.branch, query.erg_temperature) for queries in recorder.steps for query in queries}
    assert weakened == {("conditional", 1.0), ("null", 0.01), ("text_only", 1.0)}
