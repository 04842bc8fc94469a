"""The choices of a synthetic piece, the grid of its bars, and its random streams."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from acestep_flows.training.synthesis.melody import STEPS
from acestep_flows.training.synthesis.styles import Style


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The random generator of one purpose, independent of those of other purposes."""
    return np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, zlib.crc32(purpose.encode())])


@dataclass(frozen=True)
class Arrangement:
    """The choices of a piece, and the times of its bars and steps."""

    seed: int
    style: Style
    tempo: int
    key: int
    mode: str
    parts: dict[str, str]  # role -> instrument
    drums: bool
    vocal: str | None
    chords: tuple[int, ...]  # a scale degree for each bar
    sections: tuple[str, ...]  # a name for each bar
    start: float  # seconds of the piece before the clip

    @property
    def step(self) -> float:
        """Seconds of a step, which is a sixteenth."""
        return 15.0 / self.tempo

    def at(self, bar: int, step: float) -> float:
        """Seconds from the clip's start to a step of a bar. Off-beat sixteenths swing."""
        delay = self.style.swing if int(step) % 2 and self.style.swing else 0.0
        return (bar * STEPS + step + delay) * self.step - self.start
