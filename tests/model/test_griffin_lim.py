"""The short-time Fourier transform, its inverse, and phases for given magnitudes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep_flows.model.griffin_lim import griffin_lim, peak_phases, spectrum, synthesise
from acestep_flows.values import MODEL_RATE

SIZE, HOP = 512, 128
WINDOW = torch.hann_window(SIZE)


@pytest.fixture
def signal() -> Tensor:
    return torch.randn(2, 40 * HOP + SIZE, generator=torch.Generator().manual_seed(3))


def test_a_spectrum_is_the_transform_of_each_windowed_frame(signal: Tensor) -> None:
    frames = spectrum(signal, WINDOW, HOP)
    assert frames.shape == (2, 41, SIZE // 2 + 1)
    for frame in (0, 17, 40):
        samples = signal[:, frame * HOP : frame * HOP + SIZE].double() * WINDOW
        np.testing.assert_allclose(frames[:, frame], np.fft.rfft(samples.numpy()), atol=1e-4)


def test_synthesis_inverts_the_spectrum(signal: Tensor) -> None:
    inner = slice(SIZE, -SIZE)
    restored = synthesise(spectrum(signal, WINDOW, HOP), WINDOW, HOP)
    assert restored.shape == signal.shape
    torch.testing.assert_close(restored[:, inner], signal[:, inner], atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [0, 5])
def test_it_is_fast_griffin_lim(signal: Tensor, frames: int) -> None:
    """Compared with the algorithm of the paper (Perraudin et al. 2013, algorithm 2), in complex numbers."""
    target = spectrum(signal, WINDOW, HOP)
    magnitudes, prefix = target.abs(), target[:, :frames] if frames else None
    phase = peak_phases(magnitudes.mean(dim=0), HOP, SIZE)
    if prefix is not None:
        phase = phase + (prefix[:, -1:].sum(dim=0).angle() - phase[frames - 1 : frames])
    estimate, previous = magnitudes * torch.exp(1j * phase), torch.zeros_like(target)
    for _ in range(3):
        estimate = estimate if prefix is None else torch.cat((prefix, estimate[:, frames:]), dim=1)
        projected = spectrum(synthesise(estimate, WINDOW, HOP), WINDOW, HOP)
        accelerated, previous = projected + 0.99 * (projected - previous), projected
        estimate = magnitudes * torch.exp(1j * accelerated.angle())
    estimate = estimate if prefix is None else torch.cat((prefix, estimate[:, frames:]), dim=1)
    samples = griffin_lim(magnitudes, WINDOW, HOP, 3, prefix)
    torch.testing.assert_close(samples, synthesise(estimate, WINDOW, HOP), atol=2e-3, rtol=0)


def test_more_iterations_reduce_the_error(signal: Tensor) -> None:
    magnitudes = spectrum(signal, WINDOW, HOP).abs()
    errors = []
    for iterations in (0, 2, 20):
        result = spectrum(griffin_lim(magnitudes, WINDOW, HOP, iterations), WINDOW, HOP).abs()
        errors.append(float((result - magnitudes).abs().mean()))
    assert errors[0] > errors[1] > errors[2]


def test_silence_stays_silent() -> None:
    samples = griffin_lim(torch.zeros(2, 9, SIZE // 2 + 1), WINDOW, HOP, 4)
    assert torch.equal(samples, torch.zeros(2, 8 * HOP + SIZE))


def test_phases_of_a_steady_tone_advance_by_its_frequency() -> None:
    hertz, bins = 1000.0, torch.arange(1025)
    position = hertz * 2048 / MODEL_RATE
    lobe = torch.exp(-0.5 * (bins - position).square()).repeat(8, 1)
    phases = peak_phases(lobe, 512, 2048)[:, round(position)]
    expected = 2 * np.pi * hertz * 512 / MODEL_RATE
    error = (phases.diff() - expected).remainder(2 * np.pi)
    assert torch.minimum(error, 2 * np.pi - error).max() < 0.02
