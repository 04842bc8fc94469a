"""The power spectrum: scale, frequencies, blocks."""

from __future__ import annotations

import numpy as np
import pytest

from acestep_flows.audio import spectrum
from acestep_flows.values import Audio
from tests.audio.signals import RATE, noisy, silence, sine


def test_a_full_scale_sine_peaks_at_one_in_its_bin() -> None:
    bin_ = 100
    power = spectrum.average_power(sine(bin_ * RATE / spectrum.FFT_SIZE, 2, level=1.0))
    assert power.argmax() == bin_
    assert spectrum.frequencies(RATE)[bin_] == pytest.approx(bin_ * RATE / spectrum.FFT_SIZE)
    assert power.max() == pytest.approx(1, abs=0.05)


def test_opposite_channels_do_not_cancel() -> None:
    tone = sine(1_000, 1)
    opposite = Audio(tone.samples * np.array([[1], [-1]], np.float32), RATE)
    np.testing.assert_allclose(spectrum.average_power(opposite), spectrum.average_power(tone), rtol=1e-5)


def test_the_block_size_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = noisy(1)
    whole = np.concatenate(list(spectrum.power(audio)))
    monkeypatch.setattr(spectrum, "FRAMES_PER_BLOCK", 3)
    np.testing.assert_array_equal(np.concatenate(list(spectrum.power(audio))), whole)


@pytest.mark.parametrize("length", [0, 1, 4_095, 4_096, 10_000])
def test_frames_are_centred_on_every_hop(length: int) -> None:
    frames = np.concatenate(list(spectrum.power(silence(length / RATE), hop=1_000)))
    assert frames.shape == (length // 1_000 + 1, spectrum.FFT_SIZE // 2 + 1)
