from __future__ import annotations

import pytest
import torch

from acestep_flows.model.placement import Placement
from acestep_flows.model.repa import RepaHeads, _distance
from tests.model.small import small_checkpoint


def test_distance_is_zero_for_the_same_direction_and_two_for_the_opposite() -> None:
    states = torch.randn(1, 5, 4)
    assert _distance(states, [3 * states[0]]).item() == pytest.approx(0, abs=1e-6)
    assert _distance(states, [-states[0]]).item() == pytest.approx(2, abs=1e-6)


def test_rows_of_different_lengths_weigh_the_same() -> None:
    states = torch.ones(2, 5, 4)
    assert _distance(states, [torch.ones(50, 4), -torch.ones(3, 4)]).item() == pytest.approx(1, abs=1e-6)


def test_an_absent_teacher_has_no_loss() -> None:
    heads = RepaHeads.load(small_checkpoint(), Placement())
    config = heads.config
    hidden = [torch.randn(2, 6, config.width)] * len(config.ssl_names)
    name, width = config.ssl_names[0], config.ssl_latent_dims[0]
    assert set(heads(hidden, {name: [torch.randn(9, width)] * 2})) == {name}
