"""Mixing of stems to one stereo song: gain, pan, fades and offset of each, then loudness and peak of the sum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from acestep_flows.audio import loudness
from acestep_flows.audio.resample import at_rate, stereo
from acestep_flows.errors import InputError
from acestep_flows.values import OUTPUT_RATE, Audio, FloatArray

LONGEST_SECONDS = 3600.0
QUIETEST_DB, LOUDEST_DB = -120.0, 24.0


@dataclass(frozen=True)
class Track:
    """One stem with its settings in the mix.

    Attributes:
        audio: at any rate; mono is doubled, and of more than two channels the first two are used.
        gain: dB, -120 to 24.
        pan: -1 (left) to 1 (right). The far channel is attenuated along a quarter cosine and the near one is unchanged,
            so 0 changes nothing and no setting raises a level.
        offset: seconds from the start of the mix.
        fade_in: seconds from the start of the stem.
        fade_out: seconds up to its end.
    """

    audio: Audio
    gain: float = 0.0
    pan: float = 0.0
    offset: float = 0.0
    fade_in: float = 0.0
    fade_out: float = 0.0


def mix(
    tracks: Sequence[Track],
    *,
    sample_rate: int = OUTPUT_RATE,
    loudness_target: float | None = None,
    ceiling: float | None = None,
) -> Audio:
    """The sum of `tracks`. It ends with the last of them.

    Args:
        tracks: at least one; each is resampled to `sample_rate` where it has another.
        sample_rate: of the result, in Hz.
        loudness_target: integrated loudness of the sum in LUFS; None leaves it unchanged. Silence stays silent.
        ceiling: the highest true peak in dBTP; None means no limit. It takes precedence over the loudness: see
            `loudness.master`.

    Raises:
        InputError: there are no tracks, or a setting is out of range.
    """
    if not tracks:
        raise InputError("no tracks", where="mix", allowed="at least one")
    for number, track in enumerate(tracks):
        _check(track, f"mix.tracks[{number}]")
    placed = [(round(track.offset * sample_rate), _render(track, sample_rate)) for track in tracks]
    total = np.zeros((2, max(start + samples.shape[1] for start, samples in placed)))
    for start, samples in placed:
        total[:, start : start + samples.shape[1]] += samples
    song = Audio(total.astype(np.float32), sample_rate)
    if loudness_target is not None:
        _in_range("loudness_target", loudness_target, -70, 0, "mix")
    if ceiling is not None:
        _in_range("ceiling", ceiling, -60, 0, "mix")
    return loudness.master(song, loudness_target, ceiling)


def fade(length: int, fade_in: int, fade_out: int) -> FloatArray:
    """The gains (length,) of a fade in and a fade out over `length` samples, as raised cosines."""
    gains = np.ones(length)
    gains[:fade_in] *= _rise(fade_in)
    gains[length - fade_out :] *= _rise(fade_out)[::-1]
    return gains.astype(np.float32)


def _rise(length: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.sin((np.arange(length) + 0.5) / max(length, 1) * np.pi / 2) ** 2


def _render(track: Track, sample_rate: int) -> FloatArray:
    samples = stereo(at_rate(track.audio, sample_rate)).samples
    fade_in, fade_out = (round(seconds * sample_rate) for seconds in (track.fade_in, track.fade_out))
    fades = fade(samples.shape[1], min(fade_in, samples.shape[1]), min(fade_out, samples.shape[1]))
    far = math.cos(abs(track.pan) * math.pi / 2) if abs(track.pan) < 1 else 0.0
    sides = np.array([far if track.pan > 0 else 1.0, far if track.pan < 0 else 1.0])
    gains = (loudness.amplitude(track.gain) * sides).astype(np.float32)
    return samples * gains[:, None] * fades


def _check(track: Track, where: str) -> None:
    _in_range("gain", track.gain, QUIETEST_DB, LOUDEST_DB, where)
    _in_range("pan", track.pan, -1, 1, where)
    _in_range("offset", track.offset, 0, LONGEST_SECONDS, where)
    seconds = track.audio.seconds
    _in_range("fade_in", track.fade_in, 0, seconds, where)
    _in_range("fade_out", track.fade_out, 0, seconds, where)


def _in_range(name: str, value: float, lowest: float, highest: float, where: str) -> None:
    if not lowest <= value <= highest:  # NaN is in no range
        raise InputError(f"{name} {value:g}", where=where, allowed=f"{lowest:g} to {highest:g}")
