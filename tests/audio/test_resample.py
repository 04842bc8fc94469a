"""Resampling compared with the formula of the specification, and properties for every signal and pair of rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acestep_flows.audio.resample import LISTENING_FILTER, at_rate, mono, resample, resample_parts, stereo
from acestep_flows.errors import InputError
from acestep_flows.values import Audio, FloatArray

RATES = st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000])


def noise(*shape: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def dense(samples: FloatArray, from_rate: int, to_rate: int) -> tuple[FloatArray, FloatArray]:
    """Spec 04 section 2 literally: the dense kernel and one strided convolution."""
    divisor = math.gcd(from_rate, to_rate)
    o, n = from_rate // divisor, to_rate // divisor
    f = min(o, n) * 0.99
    half = math.ceil(6 * o / f)
    k, j = np.arange(n)[:, None], np.arange(-half, half + o)
    u = np.clip(((-k / n).astype(np.float32).astype(np.float64) + j / o) * f, -6, 6)
    kernel = (np.cos(u * np.pi / 12) ** 2 * np.sinc(u) * f / o).astype(np.float32)
    padded = np.pad(samples, ((0, 0), (half, half + o)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + o, axis=1)[:, ::o]
    out = np.einsum("cft,kt->cfk", windows, kernel, dtype=np.float64)
    return kernel, out.reshape(len(samples), -1)[:, : math.ceil(n * samples.shape[1] / o)].astype(np.float32)


@pytest.mark.parametrize(
    ("from_rate", "to_rate", "kernel_shape"),
    [
        (44_100, 48_000, (160, 161)),
        (48_000, 44_100, (147, 174)),
        (48_000, 24_000, (1, 28)),
        (48_000, 16_000, (1, 41)),
        (8_000, 44_100, (441, 94)),
        (101, 100, (100, 115)),
        (200, 7, (7, 548)),
    ],
)
def test_equals_the_dense_convolution_of_the_spec(from_rate: int, to_rate: int, kernel_shape: tuple[int, int]) -> None:
    samples = noise(2, 20_011)
    kernel, expected = dense(samples, from_rate, to_rate)
    assert kernel.shape == kernel_shape
    result = resample(samples, from_rate, to_rate)
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6)


@given(rates=st.tuples(RATES, RATES), length=st.integers(0, 700), channels=st.integers(1, 3))
@settings(deadline=None)
def test_length_rounds_up_and_channels_are_independent(rates: tuple[int, int], length: int, channels: int) -> None:
    samples = noise(channels, length)
    result = resample(samples, *rates)
    assert result.shape == (channels, math.ceil(length * rates[1] / rates[0]))
    assert result.dtype == np.float32
    for channel in range(channels):
        np.testing.assert_allclose(result[channel], resample(samples[channel : channel + 1], *rates)[0], atol=1e-6)


@given(rates=st.tuples(RATES, RATES), gain=st.floats(-4, 4), seed=st.integers(0, 99))
@settings(deadline=None)
def test_resampling_is_linear(rates: tuple[int, int], gain: float, seed: int) -> None:
    a, b = noise(1, 300, seed=seed), noise(1, 300, seed=seed + 1)
    both = resample(a + np.float32(gain) * b, *rates)
    apart = resample(a, *rates) + np.float32(gain) * resample(b, *rates)
    np.testing.assert_allclose(both, apart, atol=1e-4)


@pytest.mark.parametrize("frequency", [50, 1_000, 9_000, 15_000])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(44_100, 48_000), (48_000, 44_100)])
def test_a_tone_keeps_pitch_level_and_phase(frequency: int, from_rate: int, to_rate: int) -> None:
    def tone(rate: int) -> FloatArray:
        return np.sin(2 * np.pi * frequency * np.arange(rate)[None] / rate).astype(np.float32)

    result, middle = resample(tone(from_rate), from_rate, to_rate), slice(500, -500)
    assert np.abs(result - tone(to_rate))[:, middle].max() < 0.02


@given(
    rates=st.tuples(RATES, RATES),
    lengths=st.lists(st.integers(0, 900), min_size=1, max_size=6),
    rows=st.sampled_from([1, 7, 4096]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_give_the_samples_of_the_whole(
    rates: tuple[int, int], lengths: list[int], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("acestep_flows.audio.resample.ROWS_PER_PRODUCT", rows)
    whole = noise(2, sum(lengths))
    parts = np.split(whole, np.cumsum(lengths)[:-1], axis=1)
    result = resample_parts(iter(parts), (2, sum(lengths)), *rates)
    np.testing.assert_array_equal(result, resample(whole, *rates))


def test_frequencies_above_the_new_nyquist_are_removed() -> None:
    tone = np.sin(2 * np.pi * 15_000 * np.arange(48_000)[None] / 48_000).astype(np.float32)
    assert np.abs(resample(tone, 48_000, 16_000)[:, 100:-100]).max() < 1e-3


def test_the_way_out_leaves_no_images() -> None:
    """The filter of the way in lets noise near the old Nyquist frequency through to the other side of it."""
    sound = np.stack([noise(48_000 * 4, seed=seed) for seed in range(4)])
    spectra = {}
    for name, result in {
        "out": at_rate(Audio(sound[:, : 44_100 * 4], 44_100), 48_000).samples,
        "in": resample(sound[:, : 44_100 * 4], 44_100, 48_000),
    }.items():
        frames = result[:, : 4096 * 46].reshape(4, -1, 4096) * np.blackman(4096)
        power = np.square(np.abs(np.fft.rfft(frames))).mean(axis=(0, 1))
        spectra[name] = 10 * np.log10(power / power[100:1_000].mean())
    hertz = np.fft.rfftfreq(4096, 1 / 48_000)
    assert spectra["out"][hertz > 22_300].max() < -80
    assert spectra["in"][hertz > 22_300].max() > -30
    assert np.abs(spectra["out"][(hertz > 100) & (hertz < 20_000)]).max() < 2  # noise; flat on average
    assert abs(spectra["out"][(hertz > 18_000) & (hertz < 20_000)].mean()) < 0.2


def test_the_listening_filter_also_removes_what_would_fold_back() -> None:
    tone = np.sin(2 * np.pi * 22_900 * np.arange(48_000)[None] / 48_000).astype(np.float32)
    folded = resample(tone, 48_000, 44_100, LISTENING_FILTER)[:, 500:-500]
    assert np.abs(folded).max() < 1e-4


def test_equal_rates_change_nothing() -> None:
    samples = noise(2, 100)
    assert resample(samples, 44_100, 44_100) is samples


def test_coprime_rates_need_no_dense_kernel() -> None:
    result = resample(noise(1, 4_000), 44_100, 44_101)  # dense: 44101 x 44114 taps, 7.8 GB
    assert result.shape == (1, 4_001)


@pytest.mark.parametrize("rates", [(0, 48_000), (48_000, -1)])
def test_rates_below_one_are_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="sample_rate"):
        resample(noise(1, 10), *rates)


def test_samples_without_a_channel_axis_are_refused() -> None:
    with pytest.raises(InputError, match="channels x samples"):
        resample(noise(10), 44_100, 48_000)


def test_stereo_doubles_mono_and_keeps_the_first_two_of_many() -> None:
    single, many = Audio(noise(1, 50), 8_000), Audio(noise(8, 50), 8_000)
    np.testing.assert_array_equal(stereo(single).samples, np.repeat(single.samples, 2, axis=0))
    np.testing.assert_array_equal(stereo(many).samples, many.samples[:2])
    assert stereo(stereo(single)).channels == 2


def test_mono_is_the_mean() -> None:
    audio = Audio(noise(2, 50), 8_000)
    np.testing.assert_allclose(mono(audio).samples[0], audio.samples.mean(axis=0), atol=1e-7)
    assert mono(mono(audio)).channels == 1


def test_at_rate_does_not_change_audio_of_that_rate() -> None:
    audio = Audio(noise(2, 50), 8_000)
    assert at_rate(audio, 8_000) is audio
    assert at_rate(audio, 16_000).samples.shape == (2, 100)
