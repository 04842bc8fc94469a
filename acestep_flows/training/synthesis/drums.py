"""Drum sounds: four kits with the same voices. Each sound is computed once and cached."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from acestep_flows.training.synthesis.wavetable import RATE, Signal, shaped_noise, without_rumble

KITS = ("machine", "acoustic", "dusty", "brushes")
VOICES = ("kick", "snare", "clap", "hat", "open hat", "ride", "shaker", "tom", "crash")


def _decay(seconds: float, life: float) -> Signal:
    return np.exp(-np.arange(int(seconds * RATE)) / (life * RATE)).astype(np.float32)


def _drop(seconds: float, start: float, end: float, fall: float) -> Signal:
    """A sine wave that falls from one frequency to another, as a drum skin does."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = end + (start - end) * np.exp(-time / fall)
    return np.sin(2 * np.pi * np.cumsum(pitch) / RATE).astype(np.float32)


def _noise(seconds: float, low: float, high: float, seed: int) -> Signal:
    return shaped_noise(int(seconds * RATE), low, high, seed)


def _kick(kit: str) -> Signal:
    start, end, life, click = {
        "machine": (260.0, 48.0, 0.16, 0.10), "acoustic": (170.0, 62.0, 0.11, 0.22),
        "dusty": (140.0, 55.0, 0.14, 0.06), "brushes": (110.0, 60.0, 0.09, 0.04),
    }[kit]  # fmt: skip
    body = _drop(0.5, start, end, 0.03) * _decay(0.5, life)
    body[: int(0.02 * RATE)] += click * _noise(0.02, 1500.0, 8000.0, 1) * _decay(0.02, 0.004)
    return body


def _snare(kit: str) -> Signal:
    pitch, life, noise, low, high = {
        "machine": (190.0, 0.11, 0.30, 1200.0, 12000.0), "acoustic": (210.0, 0.10, 0.34, 900.0, 11000.0),
        "dusty": (175.0, 0.09, 0.26, 800.0, 6500.0), "brushes": (180.0, 0.14, 0.16, 2500.0, 9000.0),
    }[kit]  # fmt: skip
    skin = _drop(0.4, pitch * 1.5, pitch, 0.02) * _decay(0.4, 0.06) * (0.15 if kit == "brushes" else 0.5)
    wires = _noise(0.4, low, high, 2) * _decay(0.4, life) * noise
    if kit == "brushes":  # a stroke, not a hit
        wires[: int(0.02 * RATE)] *= np.linspace(0.0, 1.0, int(0.02 * RATE), dtype=np.float32)
    return skin + wires


def _clap(kit: str) -> Signal:
    envelope = np.zeros(int(0.35 * RATE), np.float32)
    for start in (0.0, 0.011, 0.022):
        offset = int(start * RATE)
        envelope[offset:] = np.maximum(envelope[offset:], _decay(0.35, 0.006)[: len(envelope) - offset])
    tail = int(0.026 * RATE)
    envelope[tail:] = np.maximum(envelope[tail:], _decay(0.35, 0.07)[: len(envelope) - tail])
    return envelope * _noise(0.35, 900.0, 7000.0, 3) * 0.35


_METAL = {
    "hat": (0.12, 0.028),
    "open hat": (0.4, 0.13),
    "ride": (0.7, 0.24),
    "crash": (1.6, 0.55),
    "shaker": (0.12, 0.035),
}


def _metal(voice: str, kit: str) -> Signal:
    seconds, life = _METAL[voice]
    low = {"machine": 7500.0, "acoustic": 6000.0, "dusty": 5000.0, "brushes": 5500.0}[kit]
    high = 10500.0 if kit == "dusty" else 15500.0
    sound = _noise(
        seconds, 4200.0 if voice == "shaker" else low * (0.8 if voice == "ride" else 1.0), high, len(voice)
    ) * _decay(seconds, life)
    if voice == "shaker":
        sound[: int(0.025 * RATE)] *= np.linspace(0.0, 1.0, int(0.025 * RATE), dtype=np.float32)
    if voice == "ride":
        time = np.arange(len(sound)) / RATE
        ping = sum(np.sin(2 * np.pi * hertz * time) for hertz in (3150.0, 4270.0, 5610.0))
        sound += 0.25 * (ping * np.exp(-time / 0.18)).astype(np.float32)
    return sound * 0.16


def _tom(kit: str) -> Signal:
    return _drop(0.5, 180.0, 95.0, 0.05) * _decay(0.5, 0.14) * 0.8


@lru_cache(maxsize=64)
def hit(kit: str, voice: str) -> Signal:
    """The sound of one stroke, (samples,) fp32 at 44.1 kHz. It is cached and read-only."""
    make = {"kick": _kick, "snare": _snare, "clap": _clap, "tom": _tom}.get(voice)
    sound = make(kit) if make else _metal(voice, kit)
    sound = without_rumble(sound.astype(np.float32))
    sound[-256:] *= np.linspace(1.0, 0.0, 256, dtype=np.float32)
    sound.setflags(write=False)
    return sound
