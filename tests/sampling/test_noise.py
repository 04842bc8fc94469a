from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.sampling.noise import RecordedDraws, SeededDraws, draw, mixed, parse_seeds, start_noise
from acestep_flows.values import MAX_SEED, Noise

SEEDS = st.integers(0, MAX_SEED)


@pytest.mark.parametrize(
    ("given_", "songs", "expected"),
    [
        (7, 2, [7, 7]),
        ("7", 2, [7, 7]),
        ("5,6", 3, [5, 6, 6]),
        (" 5 , 6", 2, [5, 6]),
        ([1, 2, 3], 2, [1, 2]),
        ((4,), 2, [4, 4]),
        (0, 1, [0]),
    ],
)
def test_parse(given_: Any, songs: int, expected: list[int]) -> None:
    assert parse_seeds(given_, songs) == expected


@pytest.mark.parametrize("wrong", ["", "a", "1,,2", "1.5", "-1x", "1;2", [], [1.0], ["1"], [True], 1.5, True])
def test_wrong_seeds_are_refused(wrong: Any) -> None:
    """Upstream draws random ones instead, without a word."""
    with pytest.raises(InputError, match="seed"):
        parse_seeds(wrong, 1)
    assert len(parse_seeds(wrong, 1, "upstream")) == 1


@pytest.mark.parametrize("wrong", [-1, MAX_SEED + 1, 2**40, str(2**32)])
@pytest.mark.parametrize("compatibility", ["corrected", "upstream"])
def test_seeds_out_of_range_are_refused(wrong: Any, compatibility: Any) -> None:
    with pytest.raises(InputError, match="seed"):
        parse_seeds(wrong, 1, compatibility)


def test_no_seed_draws_one_per_song() -> None:
    seeds = parse_seeds(None, 50)
    assert all(0 <= seed <= MAX_SEED for seed in seeds)
    assert len(set(seeds)) > 1


@given(seed=SEEDS, frames=st.integers(1, 20))
def test_a_seed_means_one_noise(seed: int, frames: int) -> None:
    noise = draw(seed, frames)
    assert noise.shape == (8, 16, frames)
    assert noise.dtype == np.float32
    assert np.array_equal(noise, draw(seed, frames))
    assert not np.array_equal(noise, draw((seed + 1) % (MAX_SEED + 1), frames))


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    draw(1, 4)
    SeededDraws(1).draw(SeededDraws(1).start(), (8, 16, 4))
    assert torch.equal(torch.random.get_rng_state(), before)


@given(seed=SEEDS, frames=st.integers(1, 9))
def test_later_draws_follow_the_first(seed: int, frames: int) -> None:
    whole = SeededDraws(seed)
    first, position = whole.draw(whole.start(), (8, 16, frames))
    second, position = whole.draw(position, (8, 16, frames))
    third, _ = whole.draw(position, (8, 16, frames))
    assert torch.equal(first, torch.from_numpy(draw(seed, frames)))

    rest = SeededDraws(seed, after=frames)
    again, position = rest.draw(rest.start(), (8, 16, frames))
    assert torch.equal(again, second)
    assert torch.equal(rest.draw(position, (8, 16, frames))[0], third)


def test_recorded_draws_come_in_order() -> None:
    noises = torch.arange(6.0).reshape(3, 2)
    draws = RecordedDraws(noises)
    position = draws.start()
    for noise in noises:
        drawn, position = draws.draw(position, (2,))
        assert torch.equal(drawn, noise)


def test_variance_turns_from_one_noise_to_the_other() -> None:
    first, retake = torch.from_numpy(draw(1, 500)), torch.from_numpy(draw(2, 500))
    assert torch.equal(mixed(first, retake, 0.0), first)
    torch.testing.assert_close(mixed(first, retake, 1.0), retake, atol=1e-6, rtol=0)
    half = mixed(first, retake, 0.5)
    torch.testing.assert_close(half, (first + retake) * math.sqrt(0.5))
    assert half.std().item() == pytest.approx(1.0, abs=0.01)


def test_start_noise_of_a_value() -> None:
    plain = Noise(draw(1, 5), 1)
    assert torch.equal(start_noise(plain), torch.from_numpy(draw(1, 5)))
    varied = Noise(draw(1, 5), 1, draw(2, 5), 2, 0.3)
    first, retake = (torch.from_numpy(draw(seed, 5)) for seed in (1, 2))
    assert torch.equal(start_noise(varied), mixed(first, retake, 0.3))
    assert SeededDraws.following(varied) == SeededDraws(1, after=5)
