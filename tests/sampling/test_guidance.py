from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from acestep_flows.sampling.guidance import (
    RUNNING,
    Guidance,
    apg,
    cfg,
    cfg_star,
    double_condition,
    running_difference,
)
from acestep_flows.sampling.options import SamplerOptions
from tests.sampling.toy import noise_of


def guidance(steps: int = 10, **options: Any) -> Guidance:
    return Guidance(SamplerOptions.model_validate(options), steps)


@pytest.fixture
def cond() -> Tensor:
    return noise_of(1)


@pytest.fixture
def null() -> Tensor:
    return noise_of(2)


def test_formulas_at_scale_one_give_the_conditional_prediction(cond: Tensor, null: Tensor) -> None:
    torch.testing.assert_close(cfg(cond, null, 1.0), cond)
    torch.testing.assert_close(cfg_star(cond, null, 1.0), cond)
    assert torch.equal(apg(cond, cond - null, 1.0), cond)
    torch.testing.assert_close(double_condition(cond, null, null, 1.0, 1.0), cond)


def test_apg_drops_what_is_parallel(cond: Tensor) -> None:
    torch.testing.assert_close(apg(cond, 0.01 * cond, 15.0), cond)


def test_apg_limits_the_difference_of_each_channel(cond: Tensor, null: Tensor) -> None:
    push = apg(cond, 1000 * (cond - null), 2.0) - cond
    assert bool((push.norm(dim=(-2, -1)) <= 2.5 + 1e-4).all())


def test_apg_of_no_difference_is_finite(cond: Tensor) -> None:
    assert torch.equal(apg(cond, torch.zeros_like(cond), 15.0), cond)
    assert torch.isfinite(apg(torch.zeros_like(cond), cond, 15.0)).all()


def test_momentum_is_negative(cond: Tensor, null: Tensor) -> None:
    first = running_difference(cond, null, None)
    assert torch.equal(first, cond - null)
    torch.testing.assert_close(running_difference(cond, null, first), 0.25 * first)


@pytest.mark.parametrize("formula", ["apg", "cfg", "cfg_star", "double_condition"])
def test_songs_do_not_touch(cond: Tensor, null: Tensor, formula: str) -> None:
    def guided(cond: Tensor, null: Tensor) -> Tensor:
        if formula == "double_condition":
            return double_condition(cond, null / 2, null, 5.0, 1.5)
        if formula == "apg":
            return apg(cond, cond - null, 7.0)
        return cfg(cond, null, 7.0) if formula == "cfg" else cfg_star(cond, null, 7.0)

    together = guided(torch.stack([cond, null]), torch.stack([null, cond + 1]))
    torch.testing.assert_close(together[0], guided(cond, null))


def test_window_of_the_specification() -> None:
    assert guidance(60).window == range(15, 45)
    assert guidance(60, guidance_interval=1.0).window == range(60)
    assert not guidance(60, guidance_interval=0.0).window
    assert not guidance(60, guidance_scale=1.0).window


@given(steps=st.integers(1, 200), interval=st.floats(0, 1))
def test_window_lies_in_the_schedule(steps: int, interval: float) -> None:
    window = guidance(steps, guidance_interval=interval).window
    assert window.start >= 0
    assert window.stop <= steps


def test_branches_inside_and_outside_of_the_window() -> None:
    some = guidance(8)
    assert some.branches(1) == (("conditional", 1.0),)
    assert some.branches(4) == (("conditional", 1.0), ("null", 0.01))
    assert guidance(8, erg_diffusion=False).branches(4) == (("conditional", 1.0), ("null", 1.0))
    double = guidance(8, guidance_scale_text=5, guidance_scale_lyric=1.5)
    assert double.branches(4) == (("conditional", 1.0), ("null", 0.01), ("text_only", 1.0))


def test_running_difference_waits_outside_of_the_window(cond: Tensor, null: Tensor) -> None:
    some = guidance(8)
    _, memory = some.combine(3, [cond, null], {})
    same, later = some.combine(7, [cond], memory)
    assert torch.equal(same, cond)
    assert torch.equal(later[RUNNING], memory[RUNNING])


def test_decay_falls_to_the_minimum() -> None:
    some = guidance(12, guidance_decay=1.0, guidance_scale=6, guidance_minimum=2)
    assert (some.scale(some.window[0]), some.scale(some.window[-1])) == (6, 2)
    assert guidance(12, guidance_decay=0.0).scale(5) == 15


@pytest.mark.parametrize("compatibility", ["corrected", "upstream"])
def test_decay_over_a_single_step(compatibility: str) -> None:
    """Upstream divides by zero; there is nothing to decay over."""
    some = guidance(2, guidance_decay=1.0, compatibility=compatibility)
    assert len(some.window) == 1
    assert some.scale(some.window[0]) == 15.0


def test_cfg_star_starts_from_zero_in_the_first_step_only(cond: Tensor, null: Tensor) -> None:
    """Whatever the window. Upstream: steps 0 and 1, but only inside it, so hardly ever."""
    some = guidance(8, guidance="cfg_star")
    assert some.branches(0) == (("conditional", 1.0),)
    assert not some.combine(0, [cond], {})[0].any()
    assert some.combine(1, [cond], {})[0].any()

    old = guidance(8, guidance="cfg_star", compatibility="upstream")
    assert old.combine(0, [cond], {})[0].any()
    wide = guidance(8, guidance="cfg_star", guidance_interval=1.0, compatibility="upstream")
    assert [wide.combine(step, [cond, null], {})[0].any().item() for step in range(3)] == [False, False, True]


def test_only_cfg_star_starts_from_zero(cond: Tensor) -> None:
    for options in ({"guidance": "cfg"}, {"guidance": "apg"}, {"guidance": "cfg_star", "guidance_scale": 1.0}):
        assert guidance(8, **options).combine(0, [cond], {})[0].any()
