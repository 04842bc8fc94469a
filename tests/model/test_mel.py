"""The log-mel transform and the filters of checkpoints made from scratch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from acestep_flows.audio.mel_scale import mel_frequencies
from acestep_flows.model import mel as module
from acestep_flows.model.mel import LogMel, mel_filters
from acestep_flows.model.placement import Placement
from tests.model.small import small_checkpoint

LIBROSA = np.load(Path(__file__).parents[1] / "audio" / "librosa-0.11.0.npz")
"""Values that librosa 0.11.0 computed."""


@pytest.fixture(scope="module")
def log_mel() -> LogMel:
    return LogMel.load(small_checkpoint(), Placement())


def noise(samples: int) -> torch.Tensor:
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(0)) * 0.1


@pytest.mark.parametrize("frames", [2, 8, 100])
def test_each_frame_has_512_samples(log_mel: LogMel, frames: int) -> None:
    assert log_mel(noise(512 * frames)).shape == (2, 128, frames)


def test_silence_is_the_root_of_the_epsilon_in_every_bin(log_mel: LogMel) -> None:
    expected = (1e-3 * log_mel.filters.sum(0)).log()[None, :, None].expand(2, -1, 8)
    torch.testing.assert_close(log_mel(torch.zeros(2, 4096)), expected)


def test_zero_filters_give_the_floor(log_mel: LogMel) -> None:
    silent = LogMel(log_mel.window, torch.zeros(1025, 128), log_mel.hop)
    assert silent(noise(4096)).unique().tolist() == pytest.approx([np.log(1e-5)])


def test_a_tone_is_loudest_in_its_own_band(log_mel: LogMel) -> None:
    seconds = torch.arange(44_100) / 44_100
    tone = 0.5 * torch.sin(2 * torch.pi * 1000 * seconds)
    loudest = log_mel(tone[None])[0].mean(-1).argmax()
    assert 950 < mel_frequencies(130, 40, 16_000)[loudest + 1] < 1050


def test_long_audio_is_transformed_in_blocks(log_mel: LogMel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = log_mel(noise(512 * 50))
    monkeypatch.setattr(module, "FRAMES_AT_ONCE", 7)
    torch.testing.assert_close(log_mel(noise(512 * 50)), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("rate", "size", "bands"), [(44_100, 2048, 128), (16_000, 512, 40)])
def test_the_filters_equal_librosas_slaney_filters(rate: int, size: int, bands: int) -> None:
    expected = LIBROSA[f"mel/{rate}"].T
    np.testing.assert_allclose(mel_filters(size // 2 + 1, bands, rate, 40, rate * 0.36).numpy(), expected, atol=1e-7)
