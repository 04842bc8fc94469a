"""Trimming and joining: they invert each other, and crossfades keep the level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio.splice import Curve, join, trim
from acestep_flows.errors import InputError
from acestep_flows.values import Audio, Span
from tests.audio.signals import RATE, noise, noisy


@given(length=st.integers(2, 2_000), data=st.data(), channels=st.integers(1, 3))
@settings(deadline=None)
def test_the_pieces_of_a_song_join_to_the_song(length: int, data: st.DataObject, channels: int) -> None:
    cut = data.draw(st.integers(1, length - 1)) / RATE
    audio = Audio(noise(channels, length), RATE)
    assert join([trim(audio, Span(0, cut)), trim(audio, Span(cut, length / RATE))]) == audio


@given(fade=st.integers(0, 400), data=st.data())
@settings(deadline=None)
def test_overlapping_pieces_join_to_the_song_with_equal_gain(fade: int, data: st.DataObject) -> None:
    audio = Audio(noise(2, 2_000), RATE)
    cut = data.draw(st.integers(0, 1_999 - fade))
    first, second = Span(0, max(1, cut + fade) / RATE), Span(cut / RATE, 2_000 / RATE)
    seam = (max(1, cut + fade) - cut) / RATE
    joined = join([trim(audio, first), trim(audio, second)], crossfade=seam, curve="equal_gain")
    np.testing.assert_allclose(joined.samples, audio.samples, atol=1e-6)


@given(lengths=st.lists(st.integers(100, 500), min_size=1, max_size=5), fade=st.integers(0, 50))
@settings(deadline=None)
def test_every_crossfade_shortens_the_result(lengths: list[int], fade: int) -> None:
    joined = join([Audio(noise(2, length), RATE) for length in lengths], crossfade=fade / RATE)
    assert joined.samples.shape == (2, sum(lengths) - fade * (len(lengths) - 1))


@pytest.mark.parametrize(("curve", "drop"), [("equal_power", 1.0), ("equal_gain", 0.8)])
def test_equal_power_keeps_the_level_between_different_sounds(curve: Curve, drop: float) -> None:
    joined = join([noisy(2, seed=1), noisy(2, seed=2)], crossfade=1.0, curve=curve).samples
    seam = np.std(joined[:, round(1.25 * RATE) : round(1.75 * RATE)])
    assert seam / np.std(joined[:, :RATE]) == pytest.approx(drop, abs=0.05)


def test_parts_get_the_first_rate_and_stereo() -> None:
    joined = join([noisy(1, channels=1, rate=8_000), noisy(1, channels=2, rate=48_000)])
    assert (joined.sample_rate, joined.samples.shape) == (8_000, (2, 16_000))


def test_trim_keeps_rate_channels_and_samples() -> None:
    audio = noisy(2, channels=3, rate=8_000)
    part = trim(audio, Span(0.5, 2.0))
    np.testing.assert_array_equal(part.samples, audio.samples[:, 4_000:])


def test_a_span_beyond_the_end_is_refused() -> None:
    with pytest.raises(InputError, match=r"span: 1 to 3 s \(allowed: within the audio, 0 to 2.000 s\)"):
        trim(noisy(2), Span(1, 3))


def test_a_span_without_a_sample_is_refused() -> None:
    with pytest.raises(InputError, match="holds no sample"):
        trim(noisy(1), Span(0.1, 0.1 + 1e-7))


@pytest.mark.parametrize("crossfade", [-0.1, 0.6, float("nan")])
def test_a_crossfade_that_is_too_long_is_refused(crossfade: float) -> None:
    with pytest.raises(InputError, match=r"crossfade .* s \(allowed: 0 to 0.500 s for the shortest part\)"):
        join([noisy(2), noisy(1), noisy(2)], crossfade=crossfade)


def test_no_parts_are_refused() -> None:
    with pytest.raises(InputError, match="join: no parts"):
        join([])
