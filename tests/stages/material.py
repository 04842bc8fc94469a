"""Values for stage tests, made from nothing."""

from __future__ import annotations

import numpy as np

from acestep_flows.values import Audio, Latents


def tone(seconds: float, frequency: float = 220.0, sample_rate: int = 48_000, channels: int = 2) -> Audio:
    """A sine at -12 dBFS."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    wave = 0.25 * np.sin(2 * np.pi * frequency * time)
    return Audio(np.tile(wave.astype(np.float32), (channels, 1)), sample_rate)


def latents(frames: int, seed: int = 0) -> Latents:
    """Standard normal latents."""
    return Latents(np.random.default_rng(seed).standard_normal((8, 16, frames)).astype(np.float32))
