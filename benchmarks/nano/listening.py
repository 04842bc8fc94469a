"""Estimators of tempo, scale, style, drums and faults from audio alone, to compare with what a caption asked for.

They score a trained checkpoint on synthetic music, whose properties are known. No estimator is perfect, so each result
is read beside the same estimate on real clips (the limit) and against the targets of other clips (chance). Audio is
(channels, samples) fp32 at 44.1 kHz. They use numpy and Slaney's mel scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from acestep_flows.audio.mel_scale import mel_filters, mel_frequencies
from acestep_flows.training.synthesis.theory import SCALES

Samples: TypeAlias = NDArray[np.float32]
Array: TypeAlias = NDArray[Any]

RATE = 44100
HOP = 512
BANDS = 128
FFT = 2048
FLOOR = 1e-5

TEMPOS = (60.0, 180.0)
BRIGHT_HERTZ = 6000.0  # cymbals and snares are above, most notes below
CHROMA_FFT = 16384
SHRINKAGE = 0.3
"""Shrinkage of the covariance of `Centroids` towards its diagonal, as there are few clips for many features."""


@lru_cache(maxsize=2)
def _filters() -> Array:
    filters: Array = mel_filters(FFT // 2 + 1, BANDS, RATE, 40, 16_000).T
    return filters


def _frames(mono: Samples, size: int, hop: int) -> Array:
    padded = np.pad(mono, (size // 2, size // 2))
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size).astype(np.float32)


def mel(samples: Samples, hop: int = HOP) -> Array:
    """Mel magnitudes (BANDS, frames) of the mean of all channels."""
    spectrum = np.abs(np.fft.rfft(_frames(samples.mean(axis=0), FFT, hop), axis=1)).astype(np.float32)
    bands: Array = (spectrum @ _filters().T).T
    return bands


def log_mel(samples: Samples) -> Array:
    """Natural logarithm of `mel`, with the floor of the model's own mel."""
    logs: Array = np.log(np.maximum(mel(samples), FLOOR))
    return logs


def mel_distance(left: Samples, right: Samples) -> float:
    """Mean absolute difference of two log-mels of equal length; 1 is about 4.3 dB in power, 8.7 dB in amplitude."""
    first, second = log_mel(left), log_mel(right)
    frames = min(first.shape[1], second.shape[1])
    return float(np.abs(first[:, :frames] - second[:, :frames]).mean())


# Timbre: styles and instruments


@dataclass(frozen=True)
class Centroids:
    """Mean features of labelled clips. A new clip gets the label of the nearest centre.

    The distance is Mahalanobis distance by the spread of clips around their own centres, as neighbouring mel bands are
    correlated.
    """

    labels: tuple[str, ...]
    centres: Array  # (labels, features)
    precision: Array  # (features, features), inverse of the covariance around the centres

    @classmethod
    def fit(cls, clips: Sequence[tuple[str, Samples]]) -> Centroids:
        """Fit to (label, audio) pairs, several of each label."""
        table = np.stack([features(samples) for _, samples in clips])
        names: tuple[str, ...] = tuple(sorted({label for label, _ in clips}))
        numbers = np.array([names.index(label) for label, _ in clips])
        centres = np.stack([table[numbers == number].mean(axis=0) for number in range(len(names))])
        residuals = table - centres[numbers]
        covariance = residuals.T @ residuals / len(table)
        diagonal = np.diag(np.diag(covariance) + 0.05**2)
        return cls(names, centres, np.linalg.inv((1 - SHRINKAGE) * covariance + SHRINKAGE * diagonal))

    def nearest(self, samples: Samples, among: Sequence[str] | None = None) -> str:
        """The label with the nearest centre, of all labels or of those in `among`."""
        off = features(samples) - self.centres
        distance = np.einsum("lf,fg,lg->l", off, self.precision, off)
        ranked: list[str] = [self.labels[int(index)] for index in np.argsort(distance)]
        return next(label for label in ranked if among is None or label in among)


def features(samples: Samples) -> Array:
    """Timbre features that do not depend on level: mean, spread and motion of groups of mel bands."""
    logs = log_mel(samples)
    logs = logs - logs.mean()
    coarse = logs.reshape(BANDS // 4, 4, -1).mean(axis=1)
    motion = np.abs(np.diff(coarse, axis=1)).mean(axis=1)
    return np.concatenate([coarse.mean(axis=1), coarse.std(axis=1), 4 * motion]).astype(np.float64)


# Key


def chroma(samples: Samples) -> Array:
    """Energy of each pitch class (12, frames), C first, from 60 Hz to 2 kHz; frames of 0.19 s."""
    power = np.abs(np.fft.rfft(_frames(samples.mean(axis=0), CHROMA_FFT, CHROMA_FFT // 2), axis=1)) ** 2
    hertz = np.fft.rfftfreq(CHROMA_FFT, 1 / RATE)
    inside = (hertz > 60) & (hertz < 2000)
    pitch = 12 * np.log2(hertz[inside] / 440.0) + 69
    off = np.abs(pitch - np.round(pitch))
    weights = np.zeros((12, inside.sum()))
    weights[np.round(pitch).astype(int) % 12, np.arange(inside.sum())] = np.exp(-0.5 * (off / 0.18) ** 2)
    energy: Array = weights @ power[:, inside].T
    return energy


def scale_of(key: int, mode: str) -> int:
    """The major key with the same seven notes, 0..11: pitch classes alone cannot tell relative keys apart."""
    return (key + 3) % 12 if mode == "minor" else key % 12


def scale_ranking(samples: Samples) -> list[int]:
    """The twelve major scales, that with the most energy first. Energy is compressed by a square root."""
    energy = np.sqrt(chroma(samples)).sum(axis=1)
    template = np.zeros(12)
    template[list(SCALES["major"])] = 1.0
    inside = [float(np.roll(template, key) @ energy) for key in range(12)]
    return [int(key) for key in np.argsort(inside)[::-1]]


def scale_share(samples: Samples, key: int, mode: str) -> float:
    """Share of the pitched energy in a scale; 7/12 = 0.58 for noise."""
    energy = chroma(samples).sum(axis=1)
    members = [(key + interval) % 12 for interval in SCALES[mode]]
    return float(energy[members].sum() / (energy.sum() + 1e-12))


def chroma_correlation(left: Samples, right: Samples) -> float:
    """Correlation of the chroma of two clips over time; 1 for the same melody."""
    first, second = np.sqrt(chroma(left)), np.sqrt(chroma(right))
    frames = min(first.shape[1], second.shape[1])
    return _correlation((first[:, :frames] - first.mean()).ravel(), (second[:, :frames] - second.mean()).ravel())


# Time

ONSET_HOP = 256
ONSET_RATE = RATE / ONSET_HOP


def onsets(samples: Samples) -> Array:
    """Onset strength (frames,) with ONSET_RATE frames a second: rises of the compressed mel over all bands."""
    rise = _rises(mel(samples, ONSET_HOP))
    envelope = rise.mean(axis=0)
    # Changes slower than a beat are dynamics, not rhythm.
    wide = np.convolve(envelope, np.ones(101) / 101, mode="same")
    sharp: Array = np.maximum(envelope - wide, 0.0)
    return sharp


def _rises(bands: Array) -> Array:
    """Positive change of compressed mel bands over two frames."""
    level = np.log1p(bands / (bands.mean() + 1e-9))
    rise: Array = np.maximum(level[:, 2:] - level[:, :-2], 0.0)
    return rise


def bright_onsets(samples: Samples) -> float:
    """Onset strength above 6 kHz relative to the clip's mean: high with cymbals and snares, low without."""
    bands = mel(samples, ONSET_HOP)
    high = mel_frequencies(BANDS, 40, 16_000) > BRIGHT_HERTZ
    level = bands[high] / (bands.mean() + 1e-9)
    return float(np.maximum(level[:, 2:] - level[:, :-2], 0.0).mean())


def onset_correlation(left: Samples, right: Samples) -> float:
    """Correlation of the `onsets` of two clips, blurred by about 70 ms."""
    return correlation_of_onsets(onsets(left), onsets(right))


def correlation_of_onsets(left: Array, right: Array) -> float:
    """`onset_correlation` from computed `onsets`."""
    first, second = (np.convolve(envelope, np.hanning(27)[1:-1], mode="same") for envelope in (left, right))
    frames = min(len(first), len(second))
    return _correlation(first[:frames], second[:frames])


def tempo_strengths(envelope: Array, tempos: Array) -> Array:
    """Strength of each tempo (bpm): the autocorrelation of `onsets` at lags of one to eight beats."""
    envelope = envelope - envelope.mean()
    count = len(envelope)
    spectrum = np.fft.rfft(envelope, 2 * count)
    autocorrelation = np.fft.irfft(np.abs(spectrum) ** 2)[:count]
    autocorrelation = autocorrelation / (autocorrelation[0] + 1e-9) / (1.0 - np.arange(count) / count + 0.05)
    autocorrelation = np.convolve(autocorrelation, (0.25, 0.5, 0.25), mode="same")
    beat = 60.0 * ONSET_RATE / np.asarray(tempos, float)
    total = np.zeros(len(beat))
    weight = np.zeros(len(beat))
    for beats, share in ((1, 1.0), (2, 1.0), (3, 0.5), (4, 1.0), (8, 0.5)):
        lag = beat * beats
        in_range = lag < 0.75 * count
        total += share * np.where(in_range, np.interp(lag, np.arange(count), autocorrelation), 0.0)
        weight += share * in_range
    return total / np.maximum(weight, 1e-9)


def tempo(samples: Samples) -> float:
    """Estimate the tempo in 60..180 bpm. It may be half or double the true one; compare with `same_tempo`."""
    tempos = np.arange(TEMPOS[0], TEMPOS[1] + 0.25, 0.25)
    return float(tempos[np.argmax(tempo_strengths(onsets(samples), tempos))])


def tempo_near(samples: Samples, target: float, reach: float = 0.16) -> float:
    """The strongest tempo within a relative distance `reach` of a target."""
    return tempo_of_onsets(onsets(samples), target, reach)


def tempo_of_onsets(envelope: Array, target: float, reach: float = 0.16) -> float:
    """`tempo_near` from computed `onsets`."""
    tempos = np.linspace(target * (1 - reach), target * (1 + reach), 161)
    return float(tempos[np.argmax(tempo_strengths(envelope, tempos))])


def tempo_error(estimate: float, target: float) -> float:
    """Relative error of a tempo, of its half or of its double, whichever is smallest."""
    return min(abs(estimate * factor / target - 1.0) for factor in (0.5, 1.0, 2.0))


def same_tempo(estimate: float, target: float, tolerance: float = 0.04) -> bool:
    """Whether two tempos agree within a relative tolerance, octaves (half, double) ignored."""
    return tempo_error(estimate, target) <= tolerance


ATTACK_HOP, ATTACK_SPAN = 110, 4
"""Samples between two levels, and levels between the ends of a rise: 10 ms together."""
ATTACK_FLOOR = 1e-3
"""Power below which a level counts as quiet, relative to the clip's mean: a rise out of silence is no longer one."""


def beat_strength(envelope: Array, target: float) -> float:
    """How regular `onsets` are at a tempo: the largest of `tempo_strengths` within 1 % of it; 0 for no beat."""
    return float(tempo_strengths(envelope, np.linspace(0.99 * target, 1.01 * target, 9)).max())


def attack(samples: Samples) -> float:
    """The steepest rises of a clip: the 99th percentile of the rise of the level over 10 ms, in dB."""
    window = np.ones(2 * ATTACK_HOP) / (2 * ATTACK_HOP)
    power = np.convolve(samples.mean(axis=0) ** 2, window, "same")[::ATTACK_HOP][8:-8]
    level = 10 * np.log10(power + ATTACK_FLOOR * power.mean() + 1e-12)
    return float(np.percentile(level[ATTACK_SPAN:] - level[:-ATTACK_SPAN], 99))


# Faults


def faults(samples: Samples) -> Mapping[str, float]:
    """Faults of a clip: clipped share, silent share (under -60 dBFS), DC offset; and the width of its stereo image."""
    loud = np.abs(samples)
    frames = samples[:, : samples.shape[1] // 1024 * 1024].reshape(len(samples), -1, 1024)
    level = np.sqrt((frames**2).mean(axis=(0, 2)))
    middle, side = samples.mean(axis=0), (samples[0] - samples[-1]) / 2
    return {
        "clipped": float((loud >= 0.999).mean()),
        "silent": float((level < 1e-3).mean()),
        "dc": float(np.abs(samples.mean(axis=1)).max()),
        "width": float(np.sqrt((side**2).mean() / ((middle**2).mean() + 1e-12))),
    }


def _correlation(left: Array, right: Array) -> float:
    if left.std() < 1e-9 or right.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(left, right)[0, 1])
