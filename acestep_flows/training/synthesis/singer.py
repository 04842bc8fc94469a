"""A formant singer: a harmonic source filtered by moving formants, and noise for breath and consonants.

The whole line is synthesised in one pass, so notes glide into each other. Vowels begin on the beat, and consonants
before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from acestep_flows.training.synthesis.lexicon import parse
from acestep_flows.training.synthesis.score import Sung
from acestep_flows.training.synthesis.theory import frequency
from acestep_flows.training.synthesis.wavetable import RATE, Signal, oscillate, shaped_noise

Hiss: TypeAlias = tuple[float, float, float, str, bool]  # start, seconds, level, band, is it a stop
Point: TypeAlias = Callable[[float, Sequence[float], float], None]

HOP = 441  # 10 ms between two sets of formants
VOICES = ("male", "female")
RANGES = {"male": (45, 62), "female": (57, 74)}
_SIZE = {"male": 1.0, "female": 1.17}  # a shorter vocal tract has higher formants

VOWELS = {  # formants in Hz; two shapes make a diphthong
    "a": ((760, 1180, 2540),), "e": ((540, 1840, 2500),), "i": ((280, 2290, 3010),), "o": ((560, 860, 2410),),
    "u": ((310, 800, 2240),), "uh": ((640, 1190, 2390),), "er": ((490, 1350, 1690),), "ae": ((680, 1750, 2450),),
    "ai": ((740, 1200, 2540), (330, 2150, 2850)), "ei": ((520, 1850, 2500), (300, 2250, 2950)),
    "ou": ((540, 880, 2400), (330, 780, 2250)), "au": ((740, 1250, 2500), (380, 820, 2250)),
}  # fmt: skip

# seconds, voiced level, formants or None (the vowel's), noise level, noise band, is it a stop
CONSONANTS: dict[str, tuple[float, float, tuple[int, int, int] | None, float, str, bool]] = {
    "m": (0.043, 0.17, (250, 1050, 2250), 0.0, "broad", False),
    "n": (0.043, 0.17, (260, 1700, 2600), 0.0, "broad", False),
    "l": (0.037, 0.21, (360, 1250, 2750), 0.0, "broad", False),
    "r": (0.037, 0.21, (330, 1060, 1420), 0.0, "broad", False),
    "w": (0.043, 0.19, (290, 610, 2150), 0.0, "broad", False),
    "y": (0.037, 0.21, (270, 2250, 3000), 0.0, "broad", False),
    "h": (0.037, 0.03, None, 0.028, "breath", False),
    "s": (0.056, 0.00, None, 0.03, "hiss", False),
    "sh": (0.062, 0.00, None, 0.04, "hush", False),
    "f": (0.050, 0.00, None, 0.028, "broad", False),
    "v": (0.037, 0.15, (300, 1100, 2400), 0.014, "broad", False),
    "t": (0.037, 0.00, None, 0.06, "hiss", True),
    "k": (0.037, 0.00, None, 0.088, "burst", True),
    "d": (0.031, 0.09, (300, 1750, 2650), 0.044, "hiss", True),
    "g": (0.031, 0.09, (260, 1950, 2400), 0.05, "burst", True),
    "b": (0.031, 0.09, (250, 850, 2200), 0.033, "broad", True),
}
_BANDS = {
    "hiss": (5200.0, 11000.0),
    "hush": (2200.0, 6000.0),
    "broad": (1200.0, 9000.0),
    "breath": (500.0, 3500.0),
    "burst": (1200.0, 3200.0),
}


@lru_cache(maxsize=8)
def _noise(band: str) -> Signal:
    low, high = _BANDS[band]
    return shaped_noise(1 << 15, low, high, len(band))


def sing(line: Sequence[Sung], samples: int, voice: str) -> Signal:
    """Synthesise a line as one mono track (samples,) with peaks of about 0.3."""
    if not line:
        return np.zeros(samples, np.float32)
    frames = samples // HOP + 2
    shapes, level, hisses = _mouth(line, frames, _SIZE[voice])
    pitch = _melody(line, samples)
    spectra = _spectra(shapes, level, pitch[np.minimum(np.arange(frames) * HOP, samples - 1)])
    track = 0.12 * oscillate(pitch, spectra, samples, HOP)
    for start, seconds, amount, band, stop in hisses:
        _hiss(track, start, seconds, amount, band, stop)
    return track


def _mouth(line: Sequence[Sung], frames: int, size: float) -> tuple[np.ndarray, np.ndarray, list[Hiss]]:
    """Formants (frames, 3) and voiced level (frames,) over time, and the noises of the consonants."""
    times: list[float] = []
    rows: list[tuple[float, float, float, float]] = []
    hisses: list[Hiss] = []

    def point(time: float, shape: Sequence[float], amount: float) -> None:
        time = max(time, times[-1] + 1e-4) if times else time
        times.append(time)
        rows.append((shape[0] * size, shape[1] * size, shape[2] * size, amount))

    for number, sung in enumerate(line):
        sounds = parse(sung.sounds)
        vowel = VOWELS[sounds.vowel]
        following = line[number + 1].start - _lead(line[number + 1]) if number + 1 < len(line) else 1e9
        written = sung.start + sung.seconds
        end = following if following < written + 0.12 else written  # legato, unless there is a rest
        clock = sung.start - _lead(sung)
        if not times or clock - times[-1] > 0.03:
            point(clock - 0.02, CONSONANTS[sounds.onset[0]][2] or vowel[0] if sounds.onset else vowel[0], 0.0)
        for name in sounds.onset:
            clock = _consonant(name, clock, vowel[0], point, hisses)
        coda = sum(CONSONANTS[name][0] for name in sounds.coda)
        close = max(end - coda, sung.start + 0.04)
        point(sung.start - 0.012, vowel[0], 0.25)
        point(sung.start + 0.012, vowel[0], 1.0)  # the accent: a vowel is loudest where it begins
        point(sung.start + 0.12, vowel[0], 0.75)
        turn = sung.start + (close - sung.start) * (0.45 if len(vowel) > 1 else 0.8)
        point(turn, vowel[0], 0.7)
        point(close - 0.01, vowel[-1], 0.5)
        clock = close
        for name in sounds.coda:
            clock = _consonant(name, clock, vowel[-1], point, hisses)
        point(clock + 0.03, vowel[-1], 0.0)

    at = np.arange(frames) * HOP / RATE
    table = np.asarray(rows)
    shapes = np.stack([np.interp(at, times, table[:, column]) for column in range(3)], axis=1)
    return shapes, np.interp(at, times, table[:, 3], left=0.0, right=0.0), hisses


def _lead(sung: Sung) -> float:
    """Seconds that the consonants take before the vowel."""
    return sum(CONSONANTS[name][0] for name in parse(sung.sounds).onset)


def _consonant(name: str, clock: float, vowel: Sequence[float], point: Point, hisses: list[Hiss]) -> float:
    seconds, voiced, shape, noise, band, stop = CONSONANTS[name]
    point(clock + 0.3 * seconds, shape or vowel, voiced)
    point(clock + 0.8 * seconds, shape or vowel, voiced)
    if noise:
        hisses.append((clock, seconds, noise, band, stop))
    return clock + seconds


def _melody(line: Sequence[Sung], samples: int) -> Signal:
    """Hz at every sample: each pitch held, 40 ms of glide into the next, vibrato on long notes."""
    points: list[tuple[float, float]] = []
    for sung in line:
        if points:  # the last pitch is held until just before the new vowel
            points.append((max(sung.start - 0.03, points[-1][0] + 1e-3), points[-1][1]))
        points.append((sung.start + 0.01, sung.pitch))
    coarse = np.arange(samples // 64 + 2) * 64 / RATE
    pitch = np.interp(coarse, [time for time, _ in points], [height for _, height in points])
    starts = np.asarray([sung.start for sung in line])
    since = coarse - starts[np.maximum(np.searchsorted(starts, coarse) - 1, 0)]
    pitch += np.clip((since - 0.18) / 0.25, 0.0, 1.0) * 0.2 * np.sin(2 * np.pi * 5.6 * coarse)
    hertz = frequency(0.0) * 2.0 ** (pitch / 12.0)
    fine: Signal = np.interp(np.arange(samples), np.arange(len(coarse)) * 64, hertz).astype(np.float32)
    return fine


def _spectra(shapes: np.ndarray, level: np.ndarray, pitch: np.ndarray) -> Signal:
    """Harmonic amplitudes (frames, harmonics): a falling source under three moving formants and a fixed fourth."""
    order = np.arange(1, 81, dtype=np.float32)
    hertz = pitch[:, None].astype(np.float32) * order
    envelope = np.full(hertz.shape, 0.012, np.float32)
    fourth = np.full(len(shapes), 3600.0)
    centres = (*shapes.T, fourth)
    for centre, width, gain in zip(centres, (90.0, 110.0, 170.0, 300.0), (1.0, 0.55, 0.28, 0.08), strict=True):
        envelope += np.float32(gain) / (
            1.0 + ((hertz - np.asarray(centre, np.float32)[:, None]) / np.float32(width)) ** 2
        )
    source = order**-0.55 / (1.0 + (hertz / 5000.0) ** 4) * (hertz < 12000.0)
    shaped: Signal = (envelope * source * level[:, None]).astype(np.float32)
    return shaped


def _hiss(track: Signal, start: float, seconds: float, amount: float, band: str, stop: bool) -> None:
    if stop:  # closure first, then the burst
        start, seconds = start + 0.55 * seconds, 0.45 * seconds + 0.02
    first, count = int(start * RATE), int(seconds * RATE)
    low, high = max(first, 0), min(first + count, len(track))
    if high <= low:
        return
    shape = np.sqrt(np.sin(np.linspace(0.01, 3.13, count, dtype=np.float32)))
    if stop:
        shape = np.exp(-np.arange(count, dtype=np.float32) / (0.012 * RATE))
    noise = np.take(_noise(band), np.arange(first, first + count), mode="wrap")
    track[low:high] += amount * (shape * noise)[low - first : high - first]
