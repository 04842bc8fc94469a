"""The published loss and its noise levels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.training.kinds.objective import (
    add_noise,
    combine,
    data_estimate,
    draw_timesteps,
    flow_loss,
    timesteps_from_normal,
)


@settings(deadline=None)
@given(normal=st.floats(-50, 50))
def test_timesteps_fall_with_the_draw_and_stay_in_the_table(normal: float) -> None:
    drawn, higher = timesteps_from_normal(torch.tensor([normal, normal + 0.5])).tolist()
    assert 1000 >= drawn >= higher > 2.99


def test_drawing_is_seeded() -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(draw_timesteps(5))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


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
