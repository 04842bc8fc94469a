"""Estimates of tempo and key, each with a confidence."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from acestep_flows.audio import spectrum
from acestep_flows.audio.mel_scale import mel_filters
from acestep_flows.audio.resample import at_rate, mono
from acestep_flows.values import Audio, FloatArray

RATE = 22_050
SHORTEST_SECONDS = 4.0

ONSET_FFT, ONSET_HOP, ONSET_BANDS = 2048, 256, 128
DECIBELS = 80.0
"""Range of the spectrogram that onsets are found in; softer bands count as this far below the loudest."""
POWER_FLOOR = 1e-10
WINDOW_SECONDS = 8.0
SLOWEST, FASTEST = 40.0, 240.0
LIKELIEST = 120.0
"""Beats per minute. Of a tempo and its double, the one nearer to this on a log scale is chosen."""

CHROMA_FFT = 8192
PITCHES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""Key profiles: how well each pitch class fits a key, from the tonic up (Krumhansl and Kessler 1982)."""


def tempo(audio: Audio) -> tuple[float, float] | None:
    """Beats per minute and a confidence 0..1; None where there is no pulse or less than four seconds of audio.

    The confidence is the autocorrelation of the onsets at a lag of one beat: 1 for a metronome, near 0 without a pulse.
    """
    if audio.seconds < SHORTEST_SECONDS:
        return None
    onsets = onset_strengths(mono(at_rate(audio, RATE)))
    frame_rate = RATE / ONSET_HOP
    length = min(round(WINDOW_SECONDS * frame_rate), len(onsets))
    windows = sliding_window_view(onsets, length)[:: max(1, length // 4)]
    windows = windows - windows.mean(axis=1, keepdims=True)
    similarity = _autocorrelation(windows).mean(axis=0) / (1 - np.arange(length) / length)
    if similarity[0] < 1e-9:
        return None
    similarity /= similarity[0]

    lags = np.arange(int(60 * frame_rate / FASTEST), int(60 * frame_rate / SLOWEST) + 1)
    lags = lags[lags < length // 2]
    likelihood = np.exp(-0.5 * np.log2(60 * frame_rate / lags / LIKELIEST) ** 2)
    beat = int(lags[np.argmax(similarity[lags] * likelihood)])
    confidence = float(np.clip(similarity[beat - 1 : beat + 2].max(), 0, 1))
    if confidence == 0:
        return None
    bpm = float(np.clip(60 * frame_rate / _refine_lag(similarity, beat), SLOWEST, FASTEST))
    return bpm, confidence


def key(audio: Audio) -> tuple[str, float] | None:
    """The most likely key ("A minor") and its fit, 0..1; None for silence. The tuning is A = 440 Hz.

    The fit is the correlation of the song's pitch classes with the key's profile.
    """
    if not audio.samples.any():
        return None
    pitches = pitch_classes(mono(at_rate(audio, RATE)))
    if pitches.std() <= 1e-6 * pitches.mean():
        return None
    fits = {
        f"{tonic} {mode}": float(np.corrcoef(np.roll(profile, step), pitches)[0, 1])
        for mode, profile in (("major", MAJOR), ("minor", MINOR))
        for step, tonic in enumerate(PITCHES)
    }
    best = max(fits, key=fits.__getitem__)
    return best, max(0.0, fits[best])


def onset_strengths(audio: Audio) -> FloatArray:
    """How much louder the mel bands become (frames,), in dB averaged over the bands; frame i is at i * ONSET_HOP.

    `audio` is mono at RATE. The definition is that of librosa's `onset_strength`, with its defaults.
    """
    filters = mel_filters(ONSET_FFT // 2 + 1, ONSET_BANDS, RATE, 0, RATE / 2)
    blocks = spectrum.power(audio, fft_size=ONSET_FFT, hop=ONSET_HOP)
    bands = np.concatenate([block @ filters for block in blocks]) * np.float32(_full_scale(ONSET_FFT))
    level = 10 * np.log10(np.maximum(bands, POWER_FLOOR))
    level = np.maximum(level, level.max() - DECIBELS)
    rises: FloatArray = np.maximum(np.diff(level, axis=0), 0).mean(axis=1)
    delay = 1 + ONSET_FFT // (2 * ONSET_HOP)  # a frame hears an onset before its middle is there
    return np.pad(rises, (delay, 0))[: len(level)]


def pitch_classes(audio: Audio) -> NDArray[np.float64]:
    """The power in each pitch class (12,), from C, over the whole song; `audio` is mono at RATE.

    The weights are those of librosa's `chroma_stft` at its defaults: bins near a semitone count for it, and octaves
    near 440 Hz count most.
    """
    missing = max(0, CHROMA_FFT - audio.samples.shape[1])
    padded = Audio(np.pad(audio.samples, ((0, 0), (0, missing))), RATE)
    total = np.zeros(CHROMA_FFT // 2 + 1)
    for block in spectrum.power(padded, fft_size=CHROMA_FFT, hop=CHROMA_FFT // 2):
        total += block.sum(axis=0)
    classes: NDArray[np.float64] = _pitch_class_weights() @ total * _full_scale(CHROMA_FFT)
    return classes


@lru_cache(maxsize=1)
def _pitch_class_weights() -> NDArray[np.float64]:
    """The weight of each bin of the spectrum in each pitch class (12, bins)."""
    hertz = np.arange(1, CHROMA_FFT) * RATE / CHROMA_FFT
    octaves = np.log2(hertz / (440 / 16))  # from the A of 27.5 Hz
    semitones = 12 * np.concatenate([[octaves[0] - 1.5], octaves])  # bin 0 has no pitch: far below the others
    widths = np.concatenate([np.maximum(np.diff(semitones), 1), [1]])
    distance = (semitones - np.arange(12)[:, None] + 6) % 12 - 6
    weights = np.exp(-0.5 * (2 * distance / widths) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((semitones / 12 - 5) / 2) ** 2)
    from_c: NDArray[np.float64] = np.roll(weights, -3, axis=0)[:, : CHROMA_FFT // 2 + 1]
    return from_c


def _full_scale(fft_size: int) -> float:
    """What `spectrum.power` divides by, so that a sine at full scale has a peak of 1."""
    return float(np.hanning(fft_size + 1)[:-1].sum() ** 2 / 4)


def _autocorrelation(windows: FloatArray) -> FloatArray:
    """The autocorrelation of each row, at lags from 0."""
    from scipy import fft

    length = windows.shape[1]
    padded = fft.next_fast_len(2 * length - 1, real=True)
    spectra = fft.rfft(windows, n=padded, axis=1)
    correlation: FloatArray = fft.irfft(spectra.real**2 + spectra.imag**2, n=padded, axis=1)[:, :length]
    return correlation


def _refine_lag(similarity: NDArray[Any], beat: int) -> float:
    """The lag of a beat to a fraction of a frame, from the peaks at up to four beats that are within the window."""
    lag = float(beat)
    for multiple in (1, 2, 4):
        near = round(lag * multiple)
        if near + 2 >= len(similarity) // 2 + 2:
            break
        around = slice(near - 1, near + 2)
        near += int(np.argmax(similarity[around])) - 1
        low, top, high = (float(value) for value in similarity[near - 1 : near + 2])
        bend = low - 2 * top + high
        if bend >= 0:  # no peak here
            break
        lag = (near + float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5))) / multiple
    return lag
