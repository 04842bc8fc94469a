from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.init_noise import InitNoise
from acestep_flows.values import MAX_SEED, Noise, frames_from_seconds
from tests.stages.material import latents
from tests.stages.running import run


def draw(**params: object) -> Noise:
    (out,) = InitNoise().run([InitNoise.In()], [InitNoise.Params.model_validate(params)])
    assert isinstance(out, InitNoise.Out), out
    return out.noise


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, MAX_SEED), duration=st.floats(0.1, 20.0))
def test_a_seed_is_a_song(seed: int, duration: float) -> None:
    noise = draw(seed=seed, duration=duration)
    assert noise.frames == frames_from_seconds(duration)
    assert noise == draw(seed=seed, duration=duration)
    assert noise.retake is None


def test_a_variance_brings_a_second_noise() -> None:
    noise = draw(seed=7, duration=2.0, variance=0.3)
    assert noise.retake is not None
    assert noise.retake_seed == 8
    assert np.array_equal(noise.retake, draw(seed=8, duration=2.0).array)
    assert draw(seed=MAX_SEED, duration=2.0, variance=0.3).retake_seed == 0


def test_like_gives_the_length(small: Checkpoint) -> None:
    assert run("init_noise", small, {"seed": 1}, like=latents(33)).noise.frames == 33


@pytest.mark.parametrize("params", [{"seed": 1}, {"seed": 1, "duration": 0.05}])
def test_a_length_that_cannot_be(small: Checkpoint, params: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"init_noise\.duration"):
        run("init_noise", small, params)


@pytest.mark.parametrize("duration", [0.0, -1.0, 240.1, 1e9, float("nan"), float("inf")])
def test_durations_out_of_range(duration: float) -> None:
    with pytest.raises(ValueError, match="duration"):
        InitNoise.Params(seed=1, duration=duration)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_seeds_out_of_range(seed: float) -> None:
    with pytest.raises(ValueError, match="seed"):
        InitNoise.Params.model_validate({"seed": seed, "duration": 1.0})
