"""Loudness and peaks: measurement (ITU-R BS.1770), normalisation and limiting.

Levels are in LUFS (loudness), dBFS (sample values) and dBTP (true peak, between the samples). None is the level of
silence, which has no number.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from acestep_flows.audio.resample import Lowpass, resample
from acestep_flows.values import Audio, FloatArray

OVERSAMPLING = 4
OVERSAMPLING_FILTER = Lowpass(16, 1.0, 9.0)
"""As sharp as that of ffmpeg's ebur128: with a softer one the peaks of clipped sounds read up to 1.5 dB low."""

GATING_BLOCK = 0.4
"""Seconds. BS.1770 does not define the loudness of shorter sounds."""

LOOKAHEAD = 0.003
"""Seconds over which the limiter lowers its gain before a peak and raises it after."""

TOLERANCE = 0.05  # LU; a louder or quieter song is mastered again
MOST_ATTEMPTS = 8
MOST_DRIVE = 12.0
"""dB by which a song may be driven into the limiter beyond its plain gain; more would flatten it."""

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
    samples = audio.samples  # without a copy of their magnitudes
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def rms(audio: Audio) -> float | None:
    """The level of the whole in dBFS, over all channels; None for silence."""
    if audio.samples.size == 0:
        return None
    starts = range(0, audio.samples.shape[1], SAMPLES_PER_BLOCK)
    blocks = (audio.samples[:, start : start + SAMPLES_PER_BLOCK] for start in starts)
    power = math.fsum(float(np.square(block, dtype=np.float64).sum()) for block in blocks)
    return decibels(math.sqrt(power / audio.samples.size))


def peak_normalised(audio: Audio) -> Audio:
    """`audio` scaled to a sample peak of 1, for measures that do not depend on level. Silence is unchanged.

    Float files can have samples so loud or faint that their squares would exceed the range of fp32.
    """
    peak = sample_peak(audio)
    return Audio(audio.samples / np.float32(peak), audio.sample_rate) if peak > 0 else audio


def true_peak(audio: Audio) -> float:
    """The largest magnitude of the waveform between the samples, as an amplitude, at four times the rate."""
    return float(_peaks(audio).max(initial=0.0))


def normalise(audio: Audio, lufs: float) -> Audio:
    """`audio` scaled to the integrated loudness `lufs`; unchanged where its loudness is undefined."""
    current = integrated(audio)
    if current is None:
        return audio
    return Audio(audio.samples * np.float32(amplitude(lufs - current)), audio.sample_rate)


def master(audio: Audio, lufs: float | None, ceiling: float | None) -> Audio:
    """`audio` at the integrated loudness `lufs`, its true peak at or below `ceiling` dBTP; None leaves either as it is.

    A limiter takes loudness away, so the song is driven into it until it has `lufs`, by at most `MOST_DRIVE` dB. The
    ceiling always holds; measure the result to know its loudness.
    """
    song = audio if lufs is None else normalise(audio, lufs)
    if ceiling is None:
        return song
    limited, drive = limit(song, ceiling), 0.0
    for _ in range(MOST_ATTEMPTS):
        made = None if lufs is None or limited is song else integrated(limited)
        if lufs is None or made is None or lufs - made <= TOLERANCE or drive == MOST_DRIVE:
            break
        drive = min(drive + lufs - made, MOST_DRIVE)
        limited = limit(Audio(song.samples * np.float32(amplitude(drive)), song.sample_rate), ceiling)
    return limited


def limit(audio: Audio, ceiling: float) -> Audio:
    """`audio` with its true peak at or below `ceiling` dBTP; the same object if it already is.

    All channels get the same gain.
    """
    highest = amplitude(ceiling)
    peaks = _peaks(audio)
    if peaks.max(initial=0.0) <= highest:
        return audio
    limited = Audio(audio.samples * _limiter_gain(peaks, highest, audio.sample_rate), audio.sample_rate)
    # A changing gain alters the waveform between samples slightly, so a constant gain removes the rest.
    rest = min(1.0, highest / true_peak(limited))
    return Audio(limited.samples * np.float32(rest * (1 - 1e-6)), audio.sample_rate)


def within_full_scale(audio: Audio) -> tuple[Audio, float]:
    """`audio` with every sample in -1..1, and by how many dB it was over (0: it was not, and is the same object).

    Only the surroundings of samples over full scale are turned down: all other samples keep their bits.
    """
    highest = sample_peak(audio)
    if highest <= 1.0:
        return audio, 0.0
    limited = audio.samples * _limiter_gain(_magnitudes(audio.samples), 1.0, audio.sample_rate)
    np.clip(limited, -1, 1, out=limited)
    return Audio(limited, audio.sample_rate), 20 * math.log10(highest)


def _limiter_gain(peaks: FloatArray, highest: float, sample_rate: int) -> FloatArray:
    """The gain (n,) of a look-ahead limiter that brings `peaks` (n,) down to `highest`.

    A running minimum spreads the gain that each sample needs to its neighbours. An average over the same window smooths
    it and cannot exceed the needed gain.
    """
    from scipy import ndimage

    # In place, as one of these arrays of a long song is as large as its samples.
    needed = peaks.astype(np.float64)
    np.maximum(needed, highest, out=needed)
    np.divide(highest, needed, out=needed)
    np.minimum(needed, 1.0, out=needed)
    window = 2 * round(LOOKAHEAD * sample_rate) + 1
    lowest = ndimage.minimum_filter1d(needed, window, mode="nearest")
    ndimage.uniform_filter1d(lowest, window, output=needed, mode="nearest")
    del lowest
    return needed.astype(np.float32)


def _peaks(audio: Audio) -> FloatArray:
    """The largest magnitude of and around each sample at four times the rate, over all channels: (n,)."""
    peaks = _magnitudes(audio.samples)
    length = len(peaks)
    for start in range(0, length, SAMPLES_PER_BLOCK):
        end = min(start + SAMPLES_PER_BLOCK, length)
        before = max(0, start - EDGE)
        block = audio.samples[:, before : end + EDGE]
        oversampled = resample(block, 1, OVERSAMPLING, OVERSAMPLING_FILTER)
        oversampled = np.abs(oversampled[:, (start - before) * OVERSAMPLING : (end - before) * OVERSAMPLING])
        for phase in range(OVERSAMPLING):
            for channel in oversampled[:, phase::OVERSAMPLING]:
                np.maximum(peaks[start:end], channel, out=peaks[start:end])
    return peaks


def _magnitudes(samples: FloatArray) -> FloatArray:
    """The largest magnitude of each sample over all channels (channels, n): (n,)."""
    largest = np.empty(samples.shape[1], np.float32)
    for start in range(0, len(largest), SAMPLES_PER_BLOCK):
        block = slice(start, start + SAMPLES_PER_BLOCK)
        np.abs(samples[:, block]).max(axis=0, out=largest[block])
    return largest
