"""Loudness and peaks: measure them (ITU-R BS.1770) and bring a song to a target.

Levels are in LUFS (loudness), dBFS (sample values) and dBTP (true peak, between the samples); None stands for the
level of silence, which no number is.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from acestep_flows.audio.resample import resample
from acestep_flows.values import Audio, FloatArray

OVERSAMPLING = 4
GATING_BLOCK = 0.4
"""Seconds; BS.1770 says nothing of shorter sounds."""

LOOKAHEAD = 0.003
"""Seconds over which the limiter moves its gain ahead of a peak and back."""

SAMPLES_PER_BLOCK = 1 << 18
EDGE = 32  # more samples than the oversampling kernel reaches


def decibels(amplitude: float) -> float | None:
    """The level of an amplitude relative to 1, None for 0."""
    return 20 * math.log10(amplitude) if amplitude > 0 else None


def amplitude(decibels: float) -> float:
    """The factor that `decibels` stand for."""
    return float(10 ** (decibels / 20))


def integrated(audio: Audio) -> float | None:
    """Integrated loudness in LUFS; None when silent (gated away whole) or shorter than 0.4 s."""
    if audio.seconds < GATING_BLOCK:
        return None
    import pyloudnorm

    meter = pyloudnorm.Meter(audio.sample_rate, block_size=GATING_BLOCK)
    samples = audio.samples[:2].T.astype(np.float64)  # the standard weights further channels by their place
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # mean of no blocks, when all are gated
        loudness = float(meter.integrated_loudness(samples))
    return loudness if math.isfinite(loudness) else None


def sample_peak(audio: Audio) -> float:
    """The largest sample value, as an amplitude."""
    return float(np.abs(audio.samples).max(initial=0.0))


def levelled(audio: Audio) -> Audio:
    """`audio` scaled to a sample peak of 1, for where level does not matter; silence stays as it is.

    Squares of absurdly loud or faint samples, which float files can hold, would leave the range of fp32.
    """
    peak = sample_peak(audio)
    return Audio(audio.samples / np.float32(peak), audio.sample_rate) if peak > 0 else audio


def true_peak(audio: Audio) -> float:
    """The largest value of the waveform through the samples, as an amplitude, at four times the rate."""
    return max(sample_peak(audio), float(_peaks(audio).max(initial=0.0)))


def normalise(audio: Audio, lufs: float) -> Audio:
    """`audio` with the integrated loudness `lufs`; unchanged where its loudness is not defined."""
    now = integrated(audio)
    if now is None:
        return audio
    return Audio(audio.samples * np.float32(amplitude(lufs - now)), audio.sample_rate)


def limit(audio: Audio, ceiling: float) -> Audio:
    """`audio` with its true peak at or below `ceiling` dBTP; what is below it already is returned as it is.

    A look-ahead limiter: the gain each sample needs is spread to its neighbours (a running minimum) and then smoothed
    by an average over the same stretch, which cannot rise above the need. All channels get the same gain.
    """
    from scipy import ndimage

    highest = amplitude(ceiling)
    peaks = np.maximum(_peaks(audio), np.abs(audio.samples)).max(axis=0, initial=0.0)
    if peaks.max(initial=0.0) <= highest:
        return audio
    need = np.minimum(1.0, highest / np.maximum(peaks, highest))
    stretch = 2 * round(LOOKAHEAD * audio.sample_rate) + 1
    held = ndimage.minimum_filter1d(need, stretch, mode="nearest")
    gain = ndimage.uniform_filter1d(held, stretch, mode="nearest")
    limited = Audio(audio.samples * gain.astype(np.float32), audio.sample_rate)
    # A moving gain changes the waveform between samples a little: take the rest off evenly.
    rest = min(1.0, highest / true_peak(limited))
    return Audio(limited.samples * np.float32(rest * (1 - 1e-6)), audio.sample_rate)


def _peaks(audio: Audio) -> FloatArray:
    """The largest magnitude around each sample at four times the rate: (channels, n)."""
    peaks = np.zeros_like(audio.samples)
    length = audio.samples.shape[1]
    for start in range(0, length, SAMPLES_PER_BLOCK):
        end = min(start + SAMPLES_PER_BLOCK, length)
        before = max(0, start - EDGE)
        fine = resample(audio.samples[:, before : end + EDGE], 1, OVERSAMPLING)
        fine = np.abs(fine[:, (start - before) * OVERSAMPLING : (end - before) * OVERSAMPLING])
        for phase in range(OVERSAMPLING):
            np.maximum(peaks[:, start:end], fine[:, phase::OVERSAMPLING], out=peaks[:, start:end])
    return peaks
