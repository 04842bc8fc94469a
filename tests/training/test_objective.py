from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.training.objective import (
    Conditions,
    add_noise,
    combine,
    data_estimate,
    draw_timesteps,
    drop_conditions,
    flow_loss,
    learning_rate,
    timesteps_from_normal,
)


@settings(deadline=None)
@given(normal=st.floats(-50, 50))
def test_timesteps_fall_with_the_draw_and_stay_in_the_table(normal: float) -> None:
    drawn, higher = timesteps_from_normal(torch.tensor([normal, normal + 0.5])).tolist()
    assert 1000 >= drawn >= higher > 2.99


def test_drawing_is_seeded() -> None:
    first, second = (draw_timesteps(5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


def test_the_true_velocity_points_to_the_data() -> None:
    data, noise, sigmas = torch.randn(3, 8, 16, 4), torch.randn(3, 8, 16, 4), torch.tensor([0.1, 0.5, 1.0])
    x = add_noise(data, noise, sigmas)
    torch.testing.assert_close(data_estimate(x, noise - data, sigmas), data)
    assert torch.equal(x[2], noise[2])


def test_the_loss_is_the_velocity_error_times_sigma_squared() -> None:
    data, noise, velocity = (torch.randn(1, 8, 16, 4) for _ in range(3))
    sigmas = torch.tensor([0.3])
    estimate = data_estimate(add_noise(data, noise, sigmas), velocity, sigmas)
    expected = 0.3**2 * (velocity - (noise - data)).square().mean()
    torch.testing.assert_close(flow_loss(estimate, data, torch.ones(1, 4)), expected)


def test_padding_is_discounted_twice_as_upstream() -> None:
    estimate, data = torch.ones(1, 8, 16, 4), torch.zeros(1, 8, 16, 4)
    assert flow_loss(estimate, data, torch.tensor([[1.0, 1, 0, 0]])).item() == pytest.approx(0.25)


def test_teachers_are_averaged_and_may_be_weighted() -> None:
    terms = {"mert": torch.tensor(1.0), "m-hubert": torch.tensor(3.0)}
    assert combine(torch.tensor(5.0), terms, 0.5).total.item() == pytest.approx(6.0)
    assert combine(torch.tensor(5.0), terms, 1.0, {"m-hubert": 0.01}).total.item() == pytest.approx(5.515)
    assert combine(torch.tensor(5.0), {}).total.item() == 5.0


def test_conditions_are_dropped_by_row_and_by_their_own_chance() -> None:
    rows = 4000
    given = Conditions(
        text=torch.ones(rows, 2, 3),
        text_mask=torch.ones(rows, 2),
        speaker=torch.ones(rows, 4),
        lyric_ids=torch.full((rows, 5), 7),
        lyric_mask=torch.ones(rows, 5, dtype=torch.long),
    )
    dropped = drop_conditions(given, torch.Generator().manual_seed(0))
    assert torch.equal(dropped.text_mask, given.text_mask)
    for tensor, whole, chance in (
        (dropped.text, given.text, 0.15),
        (dropped.speaker, given.speaker, 0.5),
        (dropped.lyric_ids, given.lyric_ids, 0.15),
    ):
        flat, same = tensor.flatten(1), whole.flatten(1)
        blank, kept = (flat == 0).all(dim=1), (flat == same).all(dim=1)
        assert bool((blank | kept).all())
        assert blank.float().mean().item() == pytest.approx(chance, abs=0.03)
    assert torch.equal(dropped.lyric_mask[:, 0] == 0, dropped.lyric_ids[:, 0] == 0)
    assert dropped.lyric_ids.dtype == torch.long


def test_the_learning_rate_rises_from_zero_and_falls_to_zero() -> None:
    rates = [learning_rate(step, warmup=4, steps=10, peak=1.0) for step in range(13)]
    assert rates[0] == 0
    assert rates[4] == max(rates) == 1
    assert rates[10:] == [0, 0, 0]
    assert learning_rate(0, warmup=0, steps=0) == 0
