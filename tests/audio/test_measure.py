"""Signals with known properties measure as they should; odd ones give answers or None, never NaN or a warning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio.measure import measure
from acestep_flows.values import Audio, Report
from tests.audio.signals import RATE, chords, clicks, noise, noisy, silence, sine


def test_levels_of_a_sine() -> None:
    found = measure(sine(997, 5, level=0.5))
    assert (found.seconds, found.sample_rate, found.channels) == (5, RATE, 2)
    assert found.loudness_lufs == pytest.approx(-6.02, abs=0.1)
    assert found.sample_peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert found.true_peak_dbtp == pytest.approx(-6.02, abs=0.05)
    assert found.rms_dbfs == pytest.approx(-9.03, abs=0.01)
    assert found.spectral_centroid_hz == pytest.approx(997, abs=2)
    assert found.dc_offset == pytest.approx(0, abs=1e-6)


def test_clipping_counts_runs_not_peaks() -> None:
    samples = noise(2, 1_000)
    samples[0, 100:110] = 1.0
    samples[1, 995:] = -1.0  # at the end of a channel
    samples[0, 500] = 1.0
    samples[1, 300:302] = -1.0
    found = measure(Audio(samples, RATE))
    assert (found.clipping_runs, found.clipped_samples) == (2, 15)


def test_clipping_does_not_run_from_one_channel_into_the_next() -> None:
    samples = np.zeros((2, 100), np.float32)
    samples[0, -2:] = samples[1, :2] = 1.0
    assert measure(Audio(samples, RATE)).clipping_runs == 0


def test_silence_share() -> None:
    samples = noise(2, 4 * RATE)
    samples[:, RATE:] = 0
    assert measure(Audio(samples, RATE)).silence_share == pytest.approx(0.75, abs=0.02)


def test_dc_offset_keeps_its_sign() -> None:
    samples = noise(2, RATE) + np.array([[0.05], [-0.2]], np.float32)
    assert measure(Audio(samples, RATE)).dc_offset == pytest.approx(-0.2, abs=0.01)


@pytest.mark.parametrize("width", [1.0, 0.0, -1.0])
def test_stereo_correlation(width: float) -> None:
    left, other = noise(2, RATE)
    right = left * np.float32(width) if width else other
    assert measure(Audio(np.stack([left, right]), RATE)).stereo_correlation == pytest.approx(width, abs=0.02)


@pytest.mark.parametrize("cutoff", [4_000, 16_000])
def test_cutoff(cutoff: int) -> None:
    spectrum = np.fft.rfft(noise(2, 4 * RATE))
    spectrum[:, np.fft.rfftfreq(4 * RATE, 1 / RATE) > cutoff] = 0
    samples = np.fft.irfft(spectrum)
    coarse = np.round(samples * 2**15) / 2**15  # 16-bit rounding must not count
    assert measure(Audio(coarse.astype(np.float32), RATE)).cutoff_hz == pytest.approx(cutoff, abs=150)


@pytest.mark.parametrize("bpm", [60, 75, 97, 120, 128.5, 140, 173])
def test_tempo(bpm: float) -> None:
    found = measure(clicks(bpm, 16))
    assert found.tempo_bpm == pytest.approx(bpm, rel=0.005)
    assert found.tempo_confidence is not None
    assert found.tempo_confidence > 0.8


def test_noise_has_no_tempo_to_be_sure_of() -> None:
    found = measure(noisy(10))
    assert found.tempo_confidence is None or found.tempo_confidence < 0.3


@pytest.mark.parametrize(
    ("roots", "third", "key"),
    [((0, 5, 7, 0), 4, "C major"), ((9, 14, 16, 9), 3, "A minor"), ((6, 11, 13, 6), 4, "F# major")],
)
def test_key(roots: tuple[int, ...], third: int, key: str) -> None:
    found = measure(chords(*roots, third=third))
    assert found.key == key
    assert found.key_fit is not None
    assert found.key_fit > 0.8


def test_silence_has_measures_but_no_levels() -> None:
    found = measure(silence(5))
    assert found.silence_share == 1
    nothing = [
        found.loudness_lufs, found.true_peak_dbtp, found.sample_peak_dbfs, found.rms_dbfs, found.stereo_correlation,
        found.spectral_centroid_hz, found.cutoff_hz, found.tempo_bpm, found.tempo_confidence, found.key, found.key_fit,
    ]  # fmt: skip
    assert nothing == [None] * len(nothing)


@given(
    length=st.integers(0, 3_000) | st.just(6 * 8_000),
    channels=st.sampled_from([1, 2, 3, 8]),
    rate=st.sampled_from([1_000, 8_000, 44_100, 192_000]),
    level=st.sampled_from([0.0, 1e-40, 1e-20, 0.1, 1e5, 1e30]),
    steady=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_audio_gives_numbers_that_json_can_hold(
    length: int, channels: int, rate: int, level: float, steady: bool
) -> None:
    shape = np.ones((channels, length)) if steady else noise(channels, length).astype(np.float64)
    found = measure(Audio((shape * level).astype(np.float32), rate))
    entries = Report(found.entries()).entries
    assert all(math.isfinite(value) for value in entries.values() if isinstance(value, float))
