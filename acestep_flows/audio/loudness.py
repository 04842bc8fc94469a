"""Loudness and peaks: measurement (ITU-R BS.1770), normalisation and limiting.

Levels are in LUFS (loudness), dBFS (sample values) and dBTP (true peak, between the samples). None is the level of
silence, which has no number.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from acestep_flows.audio.resample import resample
from acestep_flows.values import Audio, FloatArray

OVERSAMPLING = 4
GATING_BLOCK = 0.4
"""Seconds. BS.1770 does not define the loudness of shorter sounds."""

LOOKAHEAD = 0.003
"""Seconds over which the limiter lowers its gain before a peak and raises it after."""

SAMPLES_PER_BLOCK = 1 << 18
EDGE = 32  # more samples than the oversampling kernel reaches


def decibels(amplitude: float) -> float | None:
    """The level in dB of an amplitude relative to 1; None for 0."""
    return 20 * math.log10(amplitude) if amplitude > 0 else None


def amplitude(decibels: float) -> float:
    """The amplitude factor of a level in dB."""
    return float(10 ** (decibels / 20))


def integrated(audio: Audio) -> float | None:
    """Integrated loudness in LUFS; None when all blocks are gated out or the audio is shorter than 0.4 s."""
    if audio.seconds < GATING_BLOCK:
        return None
    import pyloudnorm

    meter = pyloudnorm.Meter(audio.sample_rate, block_size=GATING_BLOCK)
    samples = audio.samples[:2].T.astype(np.float64)  # the standard weights further channels by their position
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no blocks, when all are gated out
        loudness = float(meter.integrated_loudness(samples))
    return loudness if math.isfinite(loudness) else None


def sample_peak(audio: Audio) -> float:
    """The largest sample value, as an amplitude."""
    return float(np.abs(audio.samples).max(initial=0.0))


def peak_normalised(audio: Audio) -> Audio:
    """`audio` scaled to a sample peak of 1, for measures that do not depend on level. Silence is unchanged.

    Float files can have samples so loud or faint that their squares would exceed the range of fp32.
    """
    peak = sample_peak(audio)
    return Audio(audio.samples / np.float32(peak), audio.sample_rate) if peak > 0 else audio


def true_peak(audio: Audio) -> float:
    """The largest magnitude of the waveform between the samples, as an amplitude, at four times the rate."""
    return max(sample_peak(audio), float(_peaks(audio).max(initial=0.0)))


def normalise(audio: Audio, lufs: float) -> Audio:
    """`audio` scaled to the integrated loudness `lufs`; unchanged where its loudness is undefined."""
    current = integrated(audio)
    if current is None:
        return audio
    return Audio(audio.samples * np.float32(amplitude(lufs - current)), audio.sample_rate)


def limit(audio: Audio, ceiling: float) -> Audio:
    """`audio` with its true peak at or below `ceiling` dBTP; the same object if it already is.

    This is a look-ahead limiter. A running minimum spreads the gain that each sample needs to its neighbours. An
    average over the same window smooths it and cannot exceed the needed gain. All channels get the same gain.
    """
    from scipy import ndimage

    highest = amplitude(ceiling)
    peaks = np.maximum(_peaks(audio), np.abs(audio.samples)).max(axis=0, initial=0.0)
    if peaks.max(initial=0.0) <= highest:
        return audio
    needed = np.minimum(1.0, highest / np.maximum(peaks, highest))
    window = 2 * round(LOOKAHEAD * audio.sample_rate) + 1
    lowest = ndimage.minimum_filter1d(needed, window, mode="nearest")
    gain = ndimage.uniform_filter1d(lowest, window, mode="nearest")
    limited = Audio(audio.samples * gain.astype(np.float32), audio.sample_rate)
    # A changing gain alters the waveform between samples slightly, so a constant gain removes the rest.
    rest = min(1.0, highest / true_peak(limited))
    return Audio(limited.samples * np.float32(rest * (1 - 1e-6)), audio.sample_rate)


def _peaks(audio: Audio) -> FloatArray:
    """The largest magnitude around each sample at four times the rate: (channels, n)."""
    peaks = np.zeros_like(audio.samples)
    length = audio.samples.shape[1]
    for start in range(0, length, SAMPLES_PER_BLOCK):
        end = min(start + SAMPLES_PER_BLOCK, length)
        before = max(0, start - EDGE)
        oversampled = resample(audio.samples[:, before : end + EDGE], 1, OVERSAMPLING)
        oversampled = np.abs(oversampled[:, (start - before) * OVERSAMPLING : (end - before) * OVERSAMPLING])
        for phase in range(OVERSAMPLING):
            np.maximum(peaks[:, start:end], oversampled[:, phase::OVERSAMPLING], out=peaks[:, start:end])
    return peaks
