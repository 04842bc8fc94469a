from __future__ import annotations

from typing import Any

import pytest
import torch

from acestep_flows.errors import InputError
from acestep_flows.sampling.audio2audio import audio2audio
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.text2music import Denoising, text2music
from acestep_flows.sampling.trajectory import noised
from tests.sampling.toy import FRAMES, Recorder, draws_of, finish, noise_of, song_of, toy


def near(strength: float, **choices: Any) -> Denoising:
    options = SamplerOptions.model_validate({"steps": 10, **choices})
    return audio2audio(song_of(), noise_of(), strength, options, draws_of())


def test_strength_one_is_the_reference() -> None:
    trajectory = near(1.0)
    assert trajectory.steps == 0
    assert torch.equal(finish(trajectory, toy).latents, song_of())


def test_strength_zero_is_a_new_song() -> None:
    free = text2music(noise_of(), SamplerOptions(steps=10), draws_of())
    assert torch.equal(finish(near(0.0), toy).latents, finish(free, toy).latents)


def test_too_few_steps_give_the_reference() -> None:
    """Upstream returns it under noise."""
    assert near(0.9).steps == 0  # trunc((1 - 0.9) * 10) is 0
    assert torch.equal(near(0.9).start().latents, song_of())
    level = 0.1 * 3 / 1.2
    torch.testing.assert_close(
        near(0.9, compatibility="upstream").start().latents, noised(song_of(), noise_of(), level), atol=1e-5, rtol=0
    )


def test_the_network_is_told_of_more_noise_than_there_is() -> None:
    trajectory = near(0.5)
    assert trajectory.steps == 5
    torch.testing.assert_close(trajectory.start().latents, noised(song_of(), noise_of(), 0.75))
    assert trajectory.queries(trajectory.start())[0].timestep == pytest.approx(900.0)


def test_window_is_counted_in_the_steps_that_run() -> None:
    recorder = Recorder()
    finish(near(0.6, steps=20), recorder)
    assert recorder.guided == [2 <= step < 6 for step in range(8)]


def test_picked_steps_have_no_effect() -> None:
    """Upstream takes their largest number for the step count."""
    assert near(0.5, oss_steps=(2, 4)).steps == 5
    assert near(0.5, oss_steps=(2, 4), compatibility="upstream").steps == 2


def test_before_the_first_step_the_reference_is_shown() -> None:
    trajectory = near(0.5)
    assert torch.equal(trajectory.estimate(trajectory.start()), song_of())


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_out_of_range(strength: float) -> None:
    with pytest.raises(InputError, match="strength"):
        near(strength)


def test_noise_of_another_length() -> None:
    noise = noise_of(frames=FRAMES + 1)
    with pytest.raises(InputError, match=f"{FRAMES}, as the reference"):
        audio2audio(song_of(), noise, 0.5, SamplerOptions(), draws_of())
