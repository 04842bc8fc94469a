"""Measurements of a song as a mastering engineer makes them, with units. Any audio can be measured."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from acestep_flows.audio import loudness, musical, spectrum
from acestep_flows.values import Audio, FloatArray

FULL_SCALE = 0.9999
CLIPPING_RUN = 3
"""Consecutive samples at full scale that count as clipping; fewer may be a peak."""

SILENCE_BLOCK = 0.05
SILENCE = 1e-3
"""-60 dBFS: blocks of 50 ms with a lower RMS are silent."""

CUTOFF = 10**-7.5
"""-75 dB: above the cut-off the mean spectrum is this far below its peak. The noise of 16-bit samples is lower."""


@dataclass(frozen=True)
class Measurement:
    """The measurements. None means undefined, such as the loudness of silence or the tempo of one second.

    Attributes:
        seconds, sample_rate, channels: of the audio.
        loudness_lufs: integrated loudness (BS.1770).
        true_peak_dbtp: at four times the rate.
        sample_peak_dbfs, rms_dbfs: over all channels.
        clipping_runs: runs of three or more samples at full scale, over all channels.
        clipped_samples: samples in these runs.
        silence_share: 0..1, the share of 50 ms blocks below -60 dBFS.
        dc_offset: the largest mean sample value of any channel, with its sign.
        stereo_correlation: -1 (opposite) to 1 (equal), of the first two channels.
        spectral_centroid_hz: mean frequency, weighted by power.
        cutoff_hz: highest frequency of the mean spectrum within 75 dB of its peak, to about 150 Hz.
        tempo_bpm, tempo_confidence: see `musical.tempo`.
        key, key_fit: see `musical.key`.
    """

    seconds: float
    sample_rate: int
    channels: int
    loudness_lufs: float | None
    true_peak_dbtp: float | None
    sample_peak_dbfs: float | None
    rms_dbfs: float | None
    clipping_runs: int
    clipped_samples: int
    silence_share: float
    dc_offset: float
    stereo_correlation: float | None
    spectral_centroid_hz: float | None
    cutoff_hz: float | None
    tempo_bpm: float | None
    tempo_confidence: float | None
    key: str | None
    key_fit: float | None

    def entries(self) -> dict[str, Any]:
        """The measurements as JSON, for a report."""
        return dataclasses.asdict(self)


def measure(audio: Audio) -> Measurement:
    """All measurements of `audio`."""
    samples = audio.samples
    peak = loudness.sample_peak(audio)
    normalised = loudness.peak_normalised(audio)
    runs, clipped = _clipping(samples)
    centroid, cutoff = _spectral_shape(normalised)
    bpm, confidence = musical.tempo(normalised) or (None, None)
    key, fit = musical.key(normalised) or (None, None)
    return Measurement(
        seconds=audio.seconds,
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        loudness_lufs=loudness.integrated(audio),
        true_peak_dbtp=loudness.decibels(loudness.true_peak(normalised) * peak),
        sample_peak_dbfs=loudness.decibels(peak),
        rms_dbfs=loudness.rms(audio),
        clipping_runs=runs,
        clipped_samples=clipped,
        silence_share=_silence_share(audio),
        dc_offset=_dc_offset(samples),
        stereo_correlation=_correlation(normalised.samples),
        spectral_centroid_hz=centroid,
        cutoff_hz=cutoff,
        tempo_bpm=bpm,
        tempo_confidence=confidence,
        key=key,
        key_fit=fit,
    )


def _clipping(samples: FloatArray) -> tuple[int, int]:
    """The number of runs at full scale, and of samples in them."""
    loud = np.pad(np.abs(samples) >= FULL_SCALE, ((0, 0), (1, 1))).astype(np.int8)
    edges = np.diff(loud.ravel())  # the padding separates the channels
    lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
    lengths = lengths[lengths >= CLIPPING_RUN]
    return len(lengths), int(lengths.sum())


def _silence_share(audio: Audio) -> float:
    power = np.square(audio.samples.clip(-1, 1)).mean(axis=0)
    if power.size == 0:
        return 1.0
    block = max(1, round(SILENCE_BLOCK * audio.sample_rate))
    starts = np.arange(0, power.size, block)
    lengths = np.diff(np.append(starts, power.size))
    silent = np.add.reduceat(power, starts) / lengths < SILENCE**2
    return float(lengths[silent].sum() / power.size)


def _dc_offset(samples: FloatArray) -> float:
    if samples.size == 0:
        return 0.0
    means = samples.mean(axis=1, dtype=np.float64)
    return float(means[np.abs(means).argmax()])


def _correlation(samples: FloatArray) -> float | None:
    if len(samples) < 2 or samples.size == 0:
        return None
    left, right = (channel - channel.mean(dtype=np.float64) for channel in samples[:2])
    scale = math.sqrt(np.dot(left, left) * np.dot(right, right))
    return max(-1.0, min(1.0, float(np.dot(left, right)) / scale)) if scale > 0 else None


def _spectral_shape(audio: Audio) -> tuple[float | None, float | None]:
    """Centroid and cut-off in Hz; None for silence."""
    power = spectrum.average_power(audio).astype(np.float64)
    if not power.any():
        return None, None
    frequencies = spectrum.frequencies(audio.sample_rate)
    centroid = float(np.dot(frequencies, power) / power.sum())
    cutoff = float(frequencies[np.flatnonzero(power >= power.max() * CUTOFF)[-1]])
    return centroid, cutoff
