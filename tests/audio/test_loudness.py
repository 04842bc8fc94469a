"""Loudness, peaks, normalisation and limiting of signals with known levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio import loudness
from acestep_flows.values import Audio
from tests.audio.signals import RATE, noise, noisy, silence, sine


def test_a_sine_of_997_hz_has_the_loudness_of_the_standard() -> None:
    tone = sine(997, 5, level=1.0, channels=1)
    assert loudness.integrated(tone) == pytest.approx(-3.01, abs=0.1)
    assert loudness.integrated(sine(997, 5, level=0.1)) == pytest.approx(-20.0, abs=0.1)  # two channels add 3 dB


def test_silent_parts_are_gated_out() -> None:
    tone = sine(997, 5)
    padded = Audio(np.pad(tone.samples, ((0, 0), (0, 10 * RATE))), RATE)
    assert loudness.integrated(padded) == pytest.approx(loudness.integrated(tone), abs=0.2)


@pytest.mark.parametrize("audio", [silence(3), silence(0), noisy(0.3), noisy(3, level=1e-6)])
def test_loudness_is_none_where_the_standard_does_not_define_it(audio: Audio) -> None:
    assert loudness.integrated(audio) is None
    assert loudness.normalise(audio, -14) is audio


def test_the_true_peak_lies_between_the_samples() -> None:
    quarter = Audio(np.tile(np.array([1, 1, -1, -1], np.float32) * np.float32(np.sqrt(0.5)), (2, RATE // 4)), RATE)
    assert loudness.sample_peak(quarter) == pytest.approx(0.7071, abs=1e-4)
    inner = Audio(quarter.samples * np.hanning(RATE).astype(np.float32), RATE)  # no steps at the ends
    assert loudness.true_peak(inner) == pytest.approx(1.0, abs=0.02)


def sharp() -> dict[str, np.ndarray]:
    """Sounds whose peaks lie between the samples."""
    random, seconds, square = np.random.default_rng, np.arange(RATE) / RATE, np.array([1, 1, -1, -1])
    drums = np.zeros((2, RATE))
    for start in range(0, RATE, 6_000):
        drums[:, start : start + 2_000] += random(start).standard_normal((2, 2_000)) * np.exp(-np.arange(2_000) / 200)
    return {
        "clipped noise": random(1).standard_normal((2, RATE)).clip(-0.5, 0.5),
        "noise of two values": 0.5 * np.sign(random(2).standard_normal((2, RATE))),
        "noise": 0.1 * random(3).standard_normal((2, RATE)),
        "square wave": 0.5 * np.sign(np.sin(2 * np.pi * 7_013 * seconds + 0.1))[None],
        "a quarter of the rate": 0.5 * np.tile(square, RATE // 4)[None],
        "a high tone": 0.5 * np.sin(2 * np.pi * 18_011 * seconds + 0.3)[None],
        "drums": 0.3 * drums,
        "steps": np.where(np.arange(RATE) // 3_000 % 2 == 0, 0.5, -0.5)[None],
    }


FFMPEG = {
    "clipped noise": 0.9, "noise of two values": 1.3, "noise": -6.9, "square wave": -2.8, "a quarter of the rate": -2.9,
    "a high tone": -5.6, "drums": 0.0, "steps": -4.0,
}  # fmt: skip
"""dBTP by ffmpeg's ebur128 (peak=true), which rounds to 0.1 dB."""


@pytest.mark.parametrize("name", FFMPEG)
def test_the_true_peak_of_sharp_sounds_is_that_of_ffmpeg(name: str) -> None:
    audio = Audio(np.pad(sharp()[name], ((0, 0), (200, 200))).astype(np.float32), RATE)
    assert loudness.decibels(loudness.true_peak(audio)) == pytest.approx(FFMPEG[name], abs=0.1)


@given(length=st.integers(0, 2_000), seed=st.integers(0, 99))
@settings(deadline=None)
def test_the_true_peak_is_never_below_the_samples(length: int, seed: int) -> None:
    audio = Audio(noise(2, length, seed=seed), RATE)
    assert loudness.true_peak(audio) >= loudness.sample_peak(audio)


def test_the_true_peak_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    audio = noisy(0.2)
    whole = loudness.true_peak(audio)
    monkeypatch.setattr(loudness, "SAMPLES_PER_BLOCK", 1_000)
    assert loudness.true_peak(audio) == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("target", [-30.0, -14.0])
def test_normalise_meets_its_target(target: float) -> None:
    assert loudness.integrated(loudness.normalise(noisy(3), target)) == pytest.approx(target, abs=0.01)


@given(level=st.floats(0.01, 3), ceiling=st.floats(-20, 0), length=st.integers(1, 3_000), seed=st.integers(0, 99))
@settings(deadline=None)
def test_the_limiter_keeps_the_ceiling(level: float, ceiling: float, length: int, seed: int) -> None:
    limited = loudness.limit(Audio(noise(2, length, seed=seed, level=level), RATE), ceiling)
    assert loudness.true_peak(limited) <= loudness.amplitude(ceiling)


def test_the_limiter_acts_around_the_peak_and_on_all_channels_equally() -> None:
    samples = noise(2, RATE, level=0.05)
    samples[0, RATE // 2] = 1.0
    limited = loudness.limit(Audio(samples, RATE), -6.0).samples
    gain = limited / samples
    np.testing.assert_allclose(gain[0], gain[1], rtol=1e-5)
    near = abs(np.arange(RATE) - RATE // 2) < 2 * loudness.LOOKAHEAD * RATE + 10
    np.testing.assert_allclose(gain[:, ~near], 1.0, atol=0.06)
    assert gain[:, RATE // 2].max() < 0.51
    assert abs(np.diff(gain[1, near])).max() < 0.02  # no click


def test_audio_below_the_ceiling_is_unchanged() -> None:
    audio = noisy(0.1, level=0.01)
    assert loudness.limit(audio, -1.0) is audio


def loud_drums(seconds: int = 4) -> Audio:
    """A steady tone, and a short burst each second that a limiter must take down."""
    samples = sine(220, seconds, level=0.1).samples + noise(2, seconds * RATE, level=0.5) * (
        np.arange(seconds * RATE) % RATE < 3_000
    )
    return Audio(samples.astype(np.float32), RATE)


@pytest.mark.parametrize("target", [-14.0, -11.0])
def test_a_master_has_its_loudness_although_the_limiter_takes_some_away(target: float) -> None:
    drums = loud_drums()
    plain = loudness.limit(loudness.normalise(drums, target), -1.0)
    mastered = loudness.master(drums, target, -1.0)
    assert (loudness.integrated(plain) or 0) < target - 0.2
    assert loudness.integrated(mastered) == pytest.approx(target, abs=0.1)
    assert loudness.true_peak(mastered) <= loudness.amplitude(-1)


def test_a_master_is_not_flattened_for_a_loudness_out_of_reach() -> None:
    mastered = loudness.master(loud_drums(), -0.5, -1.0)
    assert (loudness.integrated(mastered) or 0) < -1.5
    assert loudness.true_peak(mastered) <= loudness.amplitude(-1)


def test_a_master_without_targets_is_the_song() -> None:
    audio = noisy(1, level=0.9)
    assert loudness.master(audio, None, None) is audio
    assert loudness.master(silence(1), -14.0, -1.0).samples.max() == 0


@given(level=st.floats(1, 1e4), length=st.integers(1, 3_000), channels=st.integers(1, 3), seed=st.integers(0, 99))
@settings(deadline=None)
def test_a_song_over_full_scale_fits_into_it(level: float, length: int, channels: int, seed: int) -> None:
    loud = Audio(noise(channels, length, seed=seed, level=level), RATE)
    fitted, over = loudness.within_full_scale(loud)
    peak = loudness.sample_peak(loud)
    assert loudness.sample_peak(fitted) <= 1.0
    assert over == pytest.approx(max(0.0, 20 * np.log10(peak)) if peak else 0.0)
    assert (fitted is loud) == (peak <= 1.0)


def test_only_the_surroundings_of_samples_over_full_scale_are_turned_down() -> None:
    samples = noise(2, 10 * RATE, level=0.1)
    samples[1, 5 * RATE : 5 * RATE + 100] = 2.0
    fitted, over = loudness.within_full_scale(Audio(samples, RATE))
    near = np.abs(np.arange(10 * RATE) - 5 * RATE - 50) < 50 + 2 * loudness.LOOKAHEAD * RATE + 2
    np.testing.assert_array_equal(fitted.samples[:, ~near], samples[:, ~near])
    assert over == pytest.approx(6.02, abs=0.01)
    assert np.abs(np.diff(fitted.samples[0, near])).max() < 0.6  # the other channel follows smoothly


def test_decibels_and_amplitudes() -> None:
    assert loudness.decibels(0) is None
    assert loudness.decibels(0.1) == pytest.approx(-20)
    assert loudness.amplitude(6.0206) == pytest.approx(2, abs=1e-4)


def test_peak_normalised_audio_has_a_peak_of_one_at_any_level() -> None:
    for level in (1e-40, 1e-20, 1.0, 1e30):
        normalised = loudness.peak_normalised(
            Audio((noise(2, 500).astype(np.float64) * level).astype(np.float32), RATE)
        )
        assert loudness.sample_peak(normalised) == 1.0
    assert not loudness.peak_normalised(silence(1)).samples.any()
