"""Spectra come back as samples, and what is only known as magnitudes gets phases that fit."""

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


def test_a_spectrum_comes_back_as_its_samples(signal: Tensor) -> None:
    inner = slice(SIZE, -SIZE)
    back = synthesise(spectrum(signal, WINDOW, HOP), WINDOW, HOP)
    assert back.shape == signal.shape
    torch.testing.assert_close(back[:, inner], signal[:, inner], atol=1e-5, rtol=0)


@pytest.mark.parametrize("held", [0, 5])
def test_it_is_fast_griffin_lim(signal: Tensor, held: int) -> None:
    """As the paper writes it (Perraudin et al. 2013, algorithm 2), in complex numbers."""
    wanted = spectrum(signal, WINDOW, HOP)
    magnitudes, known = wanted.abs(), wanted[:, :held] if held else None
    phase = peak_phases(magnitudes.mean(dim=0), HOP, SIZE)
    if known is not None:
        phase = phase + (known[:, -1:].sum(dim=0).angle() - phase[held - 1 : held])
    guess, before = magnitudes * torch.exp(1j * phase), torch.zeros_like(wanted)
    for _ in range(3):
        guess = guess if known is None else torch.cat((known, guess[:, held:]), dim=1)
        projected = spectrum(synthesise(guess, WINDOW, HOP), WINDOW, HOP)
        leap, before = projected + 0.99 * (projected - before), projected
        guess = magnitudes * torch.exp(1j * leap.angle())
    guess = guess if known is None else torch.cat((known, guess[:, held:]), dim=1)
    found = griffin_lim(magnitudes, WINDOW, HOP, 3, known)
    torch.testing.assert_close(found, synthesise(guess, WINDOW, HOP), atol=2e-3, rtol=0)


def test_more_iterations_come_nearer(signal: Tensor) -> None:
    magnitudes = spectrum(signal, WINDOW, HOP).abs()
    errors = []
    for iterations in (0, 2, 20):
        again = spectrum(griffin_lim(magnitudes, WINDOW, HOP, iterations), WINDOW, HOP).abs()
        errors.append(float((again - magnitudes).abs().mean()))
    assert errors[0] > errors[1] > errors[2]


def test_silence_has_no_phases_and_makes_no_noise() -> None:
    found = griffin_lim(torch.zeros(2, 9, SIZE // 2 + 1), WINDOW, HOP, 4)
    assert torch.equal(found, torch.zeros(2, 8 * HOP + SIZE))


def test_phases_of_a_steady_tone_advance_by_its_frequency() -> None:
    hertz, bins = 1000.0, torch.arange(1025)
    place = hertz * 2048 / MODEL_RATE
    lobe = torch.exp(-0.5 * (bins - place).square()).repeat(8, 1)
    phases = peak_phases(lobe, 512, 2048)[:, round(place)]
    want = 2 * np.pi * hertz * 512 / MODEL_RATE
    turns = (phases.diff() - want).remainder(2 * np.pi)
    assert torch.minimum(turns, 2 * np.pi - turns).max() < 0.02
