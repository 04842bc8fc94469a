"""Short drum sounds for beats that a model hears: synthesised, 44.1 kHz, the same at every call."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float32]

RATE = 44100
VOICES = ("kick", "snare", "hat", "click")


@lru_cache(maxsize=len(VOICES))
def drum_sound(voice: str) -> Signal:
    """The sound of one stroke of a voice of `VOICES`, (samples,) with a peak of 1. It is cached and read-only."""
    sound = {"kick": _kick, "snare": _snare, "hat": _hat, "click": _click}[voice]()
    sound /= np.abs(sound).max()
    sound.flags.writeable = False
    return sound


def _kick() -> Signal:
    """A sine wave that falls from 220 to 50 Hz, as a drum skin does, with a short knock."""
    time = _time(0.35)
    pitch = 50.0 + 170.0 * np.exp(-time / 0.03)
    body = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.exp(-time / 0.12)
    return (body + 0.15 * _noise(len(time), 1) * np.exp(-time / 0.003)).astype(np.float32)


def _snare() -> Signal:
    time = _time(0.25)
    skin = np.sin(2 * np.pi * 195.0 * time) * np.exp(-time / 0.05)
    return (0.5 * skin + 0.5 * np.diff(_noise(len(time) + 1, 2)) * np.exp(-time / 0.08)).astype(np.float32)


def _hat() -> Signal:
    """Noise differentiated twice, which leaves its high frequencies."""
    time = _time(0.09)
    return (np.diff(_noise(len(time) + 2, 3), n=2) * np.exp(-time / 0.025)).astype(np.float32)


def _click() -> Signal:
    time = _time(0.04)
    return (np.sin(2 * np.pi * 1600.0 * time) * np.exp(-time / 0.008)).astype(np.float32)


def _time(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def _noise(samples: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, samples)
