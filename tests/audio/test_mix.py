"""Mixing: properties of every mix, and the effect of each setting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio import loudness
from acestep_flows.audio.mix import Track, mix
from acestep_flows.errors import InputError
from acestep_flows.values import Audio
from tests.audio.signals import RATE, noise, noisy, silence, sine


@st.composite
def tracks(draw: st.DrawFn) -> Track:
    length = draw(st.integers(0, 500))
    seconds = length / RATE
    return Track(
        Audio(noise(draw(st.integers(1, 3)), length, seed=draw(st.integers(0, 9))), RATE),
        gain=draw(st.floats(-60, 24)),
        pan=draw(st.floats(-1, 1)),
        offset=draw(st.floats(0, 0.01)),
        fade_in=draw(st.floats(0, seconds)),
        fade_out=draw(st.floats(0, seconds)),
    )


@given(all_tracks=st.lists(tracks(), min_size=1, max_size=4), data=st.data())
@settings(deadline=None)
def test_the_order_of_tracks_does_not_matter(all_tracks: list[Track], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(all_tracks))
    np.testing.assert_allclose(mix(shuffled).samples, mix(all_tracks).samples, atol=1e-5)


@given(all_tracks=st.lists(tracks(), min_size=1, max_size=4))
@settings(deadline=None)
def test_a_mix_is_the_sum_of_its_tracks_and_ends_with_the_last(all_tracks: list[Track]) -> None:
    whole = mix(all_tracks).samples
    alone = [mix([track]).samples for track in all_tracks]
    assert whole.shape == (2, max(part.shape[1] for part in alone))
    summed = np.zeros(whole.shape)
    for part in alone:
        summed[:, : part.shape[1]] += part
    np.testing.assert_allclose(whole, summed, atol=1e-5)


@given(track=tracks())
@settings(deadline=None)
def test_pan_and_fades_never_raise_the_level(track: Track) -> None:
    loudest = np.abs(track.audio.samples).max(initial=0) * loudness.amplitude(track.gain)
    assert np.abs(mix([track]).samples).max(initial=0) <= loudest * 1.0001


@given(gain=st.floats(-40, 24))
@settings(deadline=None)
def test_gain_is_in_decibels(gain: float) -> None:
    audio = noisy(0.01)
    expected = audio.samples * 10 ** (gain / 20)
    np.testing.assert_allclose(mix([Track(audio, gain=gain)]).samples, expected, rtol=1e-5)


def test_one_track_without_settings_is_unchanged() -> None:
    audio = noisy(0.5)
    assert mix([Track(audio)]) == audio


def test_a_track_and_its_opposite_cancel() -> None:
    audio = noisy(0.5)
    assert not mix([Track(audio), Track(Audio(-audio.samples, RATE))]).samples.any()


@pytest.mark.parametrize(("pan", "left", "right"), [(-1, 1, 0), (-0.5, 1, 0.5**0.5), (0, 1, 1), (1, 0, 1)])
def test_pan_attenuates_the_far_channel(pan: float, left: float, right: float) -> None:
    out = mix([Track(Audio(np.ones((1, 100), np.float32), RATE), pan=pan)]).samples
    np.testing.assert_allclose(out[:, 0], [left, right], atol=1e-6)


def test_fades_start_and_end_in_silence_and_keep_the_middle() -> None:
    steady = Audio(np.ones((2, RATE), np.float32), RATE)
    out = mix([Track(steady, fade_in=0.25, fade_out=0.5)]).samples[0]
    assert out[0] < 1e-6
    assert out[-1] < 1e-6
    assert np.all(np.diff(out[: RATE // 4]) > 0)
    assert np.all(out[RATE // 4 : RATE // 2] == 1)
    assert np.all(np.diff(out[RATE // 2 :]) <= 0)


def test_offset_is_in_seconds_at_any_rate() -> None:
    click = Audio(np.ones((1, 8_000), np.float32), 8_000)
    out = mix([Track(silence(3)), Track(click, offset=1.5)]).samples[0]
    assert out.shape == (3 * RATE,)
    assert np.flatnonzero(np.abs(out) > 0.5)[0] == pytest.approx(1.5 * RATE, abs=10)


def test_tracks_are_resampled_to_one_rate() -> None:
    tones = sine(440, 1.0, rate=RATE), sine(440, 1.0, rate=44_100)
    out = mix([Track(audio) for audio in tones]).samples
    middle = slice(1_000, -1_000)
    np.testing.assert_allclose(out[:, middle], 2 * tones[0].samples[:, middle], atol=0.02)


def test_loudness_target_and_ceiling_are_met() -> None:
    drums = Audio(noise(2, 4 * RATE) * (np.arange(4 * RATE) % RATE < 9_000), RATE)
    out = mix([Track(drums, gain=-6), Track(sine(220, 4))], loudness_target=-16)
    assert loudness.integrated(out) == pytest.approx(-16, abs=0.05)
    out = mix([Track(drums, gain=-6), Track(sine(220, 4))], loudness_target=-6, ceiling=-1)
    assert loudness.true_peak(out) <= loudness.amplitude(-1)
    assert (loudness.integrated(out) or -99) > -7.5


def test_silence_stays_silent_under_any_target() -> None:
    assert not mix([Track(silence(1))], loudness_target=-14, ceiling=-1).samples.any()


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"gain": 25}, r"mix.tracks\[1\]: gain 25 \(allowed: -120 to 24\)"),
        ({"gain": float("nan")}, "gain nan"),
        ({"pan": 1.01}, r"pan 1.01 \(allowed: -1 to 1\)"),
        ({"offset": -0.1}, "offset -0.1"),
        ({"offset": 1e9}, "offset 1e[+]09"),
        ({"fade_in": 1.5}, r"fade_in 1.5 \(allowed: 0 to 1\)"),
        ({"fade_out": -1}, "fade_out -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mix([Track(silence(1)), Track(silence(1), **settings_)])


@pytest.mark.parametrize("options", [{"loudness_target": 1.0}, {"loudness_target": float("nan")}, {"ceiling": 3.0}])
def test_targets_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="mix: "):
        mix([Track(silence(1))], **options)  # type: ignore[arg-type]


def test_no_tracks_are_refused() -> None:
    with pytest.raises(InputError, match=r"mix: no tracks \(allowed: at least one\)"):
        mix([])
