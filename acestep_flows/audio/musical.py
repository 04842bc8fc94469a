"""Estimates of tempo and key, each with a confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from acestep_flows.audio.resample import at_rate, mono
from acestep_flows.values import Audio

RATE = 22_050
SHORTEST_SECONDS = 4.0

ONSET_HOP = 256
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
    import librosa

    samples = mono(at_rate(audio, RATE)).samples[0]
    onsets = librosa.onset.onset_strength(y=samples, sr=RATE, hop_length=ONSET_HOP)
    frame_rate = RATE / ONSET_HOP
    length = min(round(WINDOW_SECONDS * frame_rate), len(onsets))
    windows = librosa.util.frame(onsets, frame_length=length, hop_length=max(1, length // 4), axis=0)
    windows = windows - windows.mean(axis=1, keepdims=True)
    similarity = librosa.autocorrelate(windows, axis=1).mean(axis=0) / (1 - np.arange(length) / length)
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
    import librosa

    samples = mono(at_rate(audio, RATE)).samples[0]
    samples = np.pad(samples, (0, max(0, CHROMA_FFT - len(samples))))
    spectrum = np.abs(librosa.stft(samples, n_fft=CHROMA_FFT, hop_length=CHROMA_FFT // 2))
    pitches = librosa.feature.chroma_stft(S=spectrum**2, sr=RATE, n_fft=CHROMA_FFT, norm=None, tuning=0.0).sum(axis=1)
    if pitches.std() <= 1e-6 * pitches.mean():
        return None
    fits = {
        f"{tonic} {mode}": float(np.corrcoef(np.roll(profile, step), pitches)[0, 1])
        for mode, profile in (("major", MAJOR), ("minor", MINOR))
        for step, tonic in enumerate(PITCHES)
    }
    best = max(fits, key=fits.__getitem__)
    return best, max(0.0, fits[best])


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
