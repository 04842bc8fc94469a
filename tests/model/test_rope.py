from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.model.rope import rotate, rotation

CPU = torch.device("cpu")


@settings(deadline=None)
@given(length=st.integers(1, 40), half=st.integers(1, 16), theta=st.floats(10, 1e6))
def test_adjacent_channels_turn_by_angles_of_the_duplicated_table(length: int, half: int, theta: float) -> None:
    width = 2 * half
    x = torch.randn(length, 2, width, dtype=torch.float64).float()
    rotated = rotate(x, rotation(length, width, theta, CPU))
    position, channel = length - 1, width - 2

    def angle(index: int) -> float:
        return float(position * theta ** (-2 * (index % half) / width))

    first, second = x[position, 1, channel].item(), x[position, 1, channel + 1].item()
    expected = (
        first * math.cos(angle(channel)) - second * math.sin(angle(channel)),
        second * math.cos(angle(channel + 1)) + first * math.sin(angle(channel + 1)),
    )
    assert rotated[position, 1, channel:].tolist() == pytest.approx(expected, abs=1e-4)


def test_position_0_is_not_rotated() -> None:
    x = torch.randn(1, 3, 8)
    assert torch.equal(rotate(x, rotation(1, 8, 1e4, CPU)), x)


def test_a_longer_table_begins_with_the_shorter_one() -> None:
    short, long = rotation(5, 8, 1e4, CPU), rotation(9, 8, 1e4, CPU)
    assert torch.equal(long.cos[:5], short.cos)
    assert torch.equal(long.sin[:5], short.sin)


def test_selected_rows_keep_their_positions() -> None:
    x = torch.randn(6, 2, 8)
    keep = torch.tensor([True, False, True, True, False, True])
    table = rotation(6, 8, 1e4, CPU)
    assert torch.equal(rotate(x[keep], table.rows(keep)), rotate(x, table)[keep])


def test_a_table_computed_in_inference_mode_serves_training() -> None:
    with torch.inference_mode():
        rotation(11, 8, 123.0, CPU)
    x = torch.randn(11, 1, 8, requires_grad=True)
    rotate(x, rotation(11, 8, 123.0, CPU)).sum().backward()
    assert x.grad is not None
