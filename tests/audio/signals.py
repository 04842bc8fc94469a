"""Test signals."""

from __future__ import annotations

import numpy as np

from acestep_flows.values import Audio, FloatArray

RATE = 48_000


def noise(*shape: int, seed: int = 0, level: float = 0.1) -> FloatArray:
    return (level * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def noisy(seconds: float, *, channels: int = 2, rate: int = RATE, seed: int = 0, level: float = 0.1) -> Audio:
    return Audio(noise(channels, round(seconds * rate), seed=seed, level=level), rate)


def sine(hertz: float, seconds: float, *, level: float = 0.5, channels: int = 2, rate: int = RATE) -> Audio:
    wave = level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return Audio(np.tile(wave, (channels, 1)).astype(np.float32), rate)


def silence(seconds: float, *, channels: int = 2, rate: int = RATE) -> Audio:
    return Audio(np.zeros((channels, round(seconds * rate)), np.float32), rate)


def clicks(bpm: float, seconds: float, *, rate: int = RATE) -> Audio:
    """A short noise burst on every beat, louder on the first of four."""
    random, samples = np.random.default_rng(0), np.zeros(round(seconds * rate))
    for beat in range(int(seconds * bpm / 60)):
        start = round(beat * 60 / bpm * rate)
        length = min(2_000, len(samples) - start)
        burst = random.standard_normal(length) * np.exp(-np.arange(length) / 300)
        samples[start : start + length] += burst * (0.3 if beat % 4 else 0.5)
    return Audio(samples[None].astype(np.float32), rate)


def chords(*roots: int, third: int, rate: int = RATE) -> Audio:
    """Three seconds of a triad on each root (semitones above C4), with a few overtones; `third` 4 major, 3 minor."""
    seconds, parts = np.arange(3 * rate) / rate, []
    for root in roots:
        pitches = [440 * 2 ** ((root + step - 9) / 12) for step in (0, third, 7)]
        parts.append(sum(np.sin(2 * np.pi * p * k * seconds) / k**2 for p in pitches for k in (1, 2, 3)) * 0.05)
    return Audio(np.concatenate(parts)[None].astype(np.float32), rate)
