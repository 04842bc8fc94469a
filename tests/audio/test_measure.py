"""Measurements of signals with known properties; any signal gives numbers or None, never NaN or a warning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio.measure import measure
from acestep_flows.audio.resample import at_rate
from acestep_flows.values import Audio, Report
from tests.audio.signals import RATE, chords, clicks, noise, noisy, silence, sine


def test_levels_of_a_sine_are_measured() -> None:
    result = measure(sine(997, 5, level=0.5))
    assert (result.seconds, result.sample_rate, result.channels) == (5, RATE, 2)
    assert result.loudness_lufs == pytest.approx(-6.02, abs=0.1)
    assert result.sample_peak_dbfs == pytest.approx(-6.02, abs=0.01)
    assert result.true_peak_dbtp == pytest.approx(-6.02, abs=0.05)
    assert result.rms_dbfs == pytest.approx(-9.03, abs=0.01)
    assert result.spectral_centroid_hz == pytest.approx(997, abs=2)
    assert result.dc_offset == pytest.approx(0, abs=1e-6)


def test_clipping_counts_runs_but_not_single_peaks() -> None:
    samples = noise(2, 1_000)
    samples[0, 100:110] = 1.0
    samples[1, 995:] = -1.0  # at the end of a channel
    samples[0, 500] = 1.0
    samples[1, 300:302] = -1.0
    result = measure(Audio(samples, RATE))
    assert (result.clipping_runs, result.clipped_samples) == (2, 15)


def test_clipping_runs_do_not_cross_channels() -> None:
    samples = np.zeros((2, 100), np.float32)
    samples[0, -2:] = samples[1, :2] = 1.0
    assert measure(Audio(samples, RATE)).clipping_runs == 0


def test_silence_share_is_measured() -> None:
    samples = noise(2, 4 * RATE)
    samples[:, RATE:] = 0
    assert measure(Audio(samples, RATE)).silence_share == pytest.approx(0.75, abs=0.02)


def test_dc_offset_keeps_its_sign() -> None:
    samples = noise(2, RATE) + np.array([[0.05], [-0.2]], np.float32)
    assert measure(Audio(samples, RATE)).dc_offset == pytest.approx(-0.2, abs=0.01)


@pytest.mark.parametrize("width", [1.0, 0.0, -1.0])
def test_stereo_correlation_is_measured(width: float) -> None:
    left, other = noise(2, RATE)
    right = left * np.float32(width) if width else other
    assert measure(Audio(np.stack([left, right]), RATE)).stereo_correlation == pytest.approx(width, abs=0.02)


@pytest.mark.parametrize("cutoff", [4_000, 16_000])
def test_cutoff_is_measured(cutoff: int) -> None:
    spectrum = np.fft.rfft(noise(2, 4 * RATE))
    spectrum[:, np.fft.rfftfreq(4 * RATE, 1 / RATE) > cutoff] = 0
    samples = np.fft.irfft(spectrum)
    coarse = np.round(samples * 2**15) / 2**15  # 16-bit rounding must not count
    assert measure(Audio(coarse.astype(np.float32), RATE)).cutoff_hz == pytest.approx(cutoff, abs=150)


def test_cutoff_is_that_of_the_song_after_another_rate() -> None:
    """What the vocoder makes ends at 16 kHz; images of the old rate, from 28 kHz down, must not count."""
    low = np.fft.rfft(noise(2, 4 * 44_100))
    low[:, np.fft.rfftfreq(4 * 44_100, 1 / 44_100) > 16_000] = 0
    song = Audio(np.fft.irfft(low).astype(np.float32), 44_100)
    assert measure(at_rate(song, 48_000)).cutoff_hz == pytest.approx(16_000, abs=150)
    full = at_rate(Audio(noise(2, 4 * 44_100), 44_100), 48_000)
    assert 21_000 < (measure(full).cutoff_hz or 0) < 22_300  # the old Nyquist frequency, not 24 kHz


@pytest.mark.parametrize("bpm", [60, 75, 97, 120, 128.5, 140, 173])
def test_tempo_is_measured(bpm: float) -> None:
    result = measure(clicks(bpm, 16))
    assert result.tempo_bpm == pytest.approx(bpm, rel=0.005)
    assert result.tempo_confidence is not None
    assert result.tempo_confidence > 0.8


def test_the_tempo_of_noise_has_a_low_confidence() -> None:
    result = measure(noisy(10))
    assert result.tempo_confidence is None or result.tempo_confidence < 0.3


@pytest.mark.parametrize(
    ("roots", "third", "key"),
    [((0, 5, 7, 0), 4, "C major"), ((9, 14, 16, 9), 3, "A minor"), ((6, 11, 13, 6), 4, "F# major")],
)
def test_key_is_measured(roots: tuple[int, ...], third: int, key: str) -> None:
    result = measure(chords(*roots, third=third))
    assert result.key == key
    assert result.key_fit is not None
    assert result.key_fit > 0.8


def test_silence_has_no_levels() -> None:
    result = measure(silence(5))
    assert result.silence_share == 1
    undefined = [
        result.loudness_lufs, result.true_peak_dbtp, result.sample_peak_dbfs, result.rms_dbfs,
        result.stereo_correlation, result.spectral_centroid_hz, result.cutoff_hz, result.tempo_bpm,
        result.tempo_confidence, result.key, result.key_fit,
    ]  # fmt: skip
    assert undefined == [None] * len(undefined)


@given(
    length=st.integers(0, 3_000) | st.just(6 * 8_000),
    channels=st.sampled_from([1, 2, 3, 8]),
    rate=st.sampled_from([1_000, 8_000, 44_100, 192_000]),
    level=st.sampled_from([0.0, 1e-40, 1e-20, 0.1, 1e5, 1e30]),
    steady=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_audio_gives_finite_numbers(length: int, channels: int, rate: int, level: float, steady: bool) -> None:
    shape = np.ones((channels, length)) if steady else noise(channels, length).astype(np.float64)
    result = measure(Audio((shape * level).astype(np.float32), rate))
    entries = Report(result.entries()).entries
    assert all(math.isfinite(value) for value in entries.values() if isinstance(value, float))
