"""A rendered clip: its stems, truth, tags and lyrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from acestep_flows.training.synthesis.score import STEMS, Truth
from acestep_flows.training.synthesis.wavetable import RATE, Signal


@dataclass(frozen=True)
class Piece:
    """A clip at 44.1 kHz. `stems` has the audible ones, each (2, samples) fp32; their sum is the mix."""

    stems: dict[str, Signal]
    truth: Truth
    tags: str
    lyrics: str
    sample_rate: int = RATE

    @property
    def mix(self) -> Signal:
        """The stems added in the order of STEMS, (2, samples)."""
        return self.sum(*self.stems)

    def sum(self, *names: str) -> Signal:
        """The sum of some stems, (2, samples). Stems that the clip lacks count as silence."""
        first = next(iter(self.stems.values()))
        total = np.zeros_like(first)
        for name in STEMS:
            if name in names and name in self.stems:
                total += self.stems[name]
        return total
