"""The numbers of a turn: weights, scales and masks of all its songs, as arrays that go to the device in one copy.

S songs, G guides of a song, T frames of the longest. What no song of a turn needs is left out, and so is the work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from acestep_flows.model.transfer import on_device
from acestep_flows.sampling.guidance import THRESHOLD
from acestep_flows.sampling.joint_step import FRAME, KEPT, Frames, Guide, JointStep, Register

Numbers = NDArray[np.float32]

NONE = Guide((0.0,))


@dataclass(frozen=True)
class TurnNumbers:
    """What the steps of a turn have in common, and their numbers.

    Attributes:
        steps: of the songs.
        frames: of the songs.
        noises: tensors of noise for each song.
    """

    steps: Sequence[JointStep]
    frames: Sequence[int]
    noises: int

    @property
    def answers(self) -> int:
        """Answers of the network to one song, at the most."""
        return max(len(step.queries) for step in self.steps)

    @property
    def asks(self) -> int:
        """Tensors that the network is asked about for one song, at the most."""
        return max(len(step.asks) for step in self.steps)

    @property
    def guides(self) -> int:
        """Guides of one song, at the most."""
        return max(len(step.guides) for step in self.steps)

    @cached_property
    def formulas(self) -> set[str]:
        """Formulas of guidance that are in use."""
        return {guide.formula for step in self.steps for guide in step.guides}

    @property
    def limited(self) -> bool:
        """Whether a formula needs more than a weighted sum."""
        return self.formulas != {"sum"}

    @property
    def running(self) -> bool:
        """Whether a running difference is used."""
        return any(guide.running for step in self.steps for guide in step.guides)

    def sent(self, device: torch.device) -> dict[str, Tensor]:
        """The numbers on `device`, after one copy.

        Returns:
            real: (S, 1, 1, 1, T), 1 on the frames of a song, and `moving`: on those where its velocity counts.
            asks: (S, asks, registers), absent where the network is asked about every song's latents.
            guides: (S, sums, answers and running difference), absent where the only answer is the velocity.
            factors: (3, S * G, 1, 1, 1), `on_base`, `push` and `fit` of `guided`, absent where sums do.
            granularity, share: (S, 1, 1, 1, 1), see `shifted`.
            sums: (S, KEPT, registers there are).
        """
        arrays = {"real": self._mask([(0, frames)] for frames in self.frames)}
        if any(step.painted is not None for step in self.steps):
            pairs = zip(self.steps, self.frames, strict=True)
            arrays["moving"] = self._mask([(0, end)] if step.painted is None else step.painted for step, end in pairs)
        arrays |= self._asks() | self._guidance() | self._shift()
        arrays["sums"] = self._sums("granularity" in arrays)
        sent = on_device(torch.from_numpy(np.concatenate([array.ravel() for array in arrays.values()])), device)
        parts = sent.split([array.size for array in arrays.values()])
        return {name: part.view(array.shape) for (name, array), part in zip(arrays.items(), parts, strict=True)}

    def _mask(self, songs: Iterable[Sequence[Frames]]) -> Numbers:
        """1 inside the spans of each song."""
        mask = np.zeros((len(self.steps), 1, 1, 1, max(self.frames)), np.float32)
        for song, spans in zip(mask, songs, strict=True):
            for start, stop in spans:
                song[..., start:stop] = 1
        return mask

    def _asks(self) -> dict[str, Numbers]:
        if all(list(step.asks) == [{Register.LATENTS: 1.0}] for step in self.steps):
            return {}
        weights = np.zeros((len(self.steps), self.asks, KEPT + self.noises), np.float32)
        for song, step in zip(weights, self.steps, strict=True):
            for ask, terms in zip(song, step.asks, strict=False):  # a song with fewer has no query about the others
                for register, weight in terms.items():
                    ask[register] = weight
        return {"asks": weights}

    def _guidance(self) -> dict[str, Numbers]:
        guided = [[*step.guides, *[NONE] * (self.guides - len(step.guides))] for step in self.steps]
        if self.answers == self.guides == 1 and all(guide == Guide() for song in guided for guide in song):
            return {}
        numbers = {"guides": np.stack([self._guide_weights(song) for song in guided])}
        if self.limited:
            factors = np.array([_factors(guide) for song in guided for guide in song], np.float32)
            numbers["factors"] = factors.T.reshape(3, -1, 1, 1, 1).copy()
        return numbers

    def _guide_weights(self, guides: Sequence[Guide]) -> Numbers:
        """Weights of the answers, and of the running difference behind them: base and difference of each guide."""
        weights = np.zeros((len(guides), 2, self.answers + self.running), np.float32)
        for (base, difference), guide in zip(weights, guides, strict=True):
            base[: len(guide.base)] = guide.base
            difference[: len(guide.difference)] = guide.difference
            if self.running:
                difference[-1] = guide.running
        return weights.reshape(-1, weights.shape[-1]) if self.limited else weights[:, 0]

    def _shift(self) -> dict[str, Numbers]:
        if not any(Register.SHIFTED in terms for step in self.steps for terms in step.sums.values()):
            return {}
        factors = [step.granularity for step in self.steps]
        counts = [frames * FRAME[0] * FRAME[1] for frames in self.frames]
        shares = [(1 - factor) / count for factor, count in zip(factors, counts, strict=True)]
        return {"granularity": _column(factors), "share": _column(shares)}

    def _sums(self, shifted: bool) -> Numbers:
        """Columns: kept registers, noises, base and difference of each guide, velocities, the same shifted."""
        columns = [*range(KEPT), *[Register.NOISE, Register.LATER_NOISE][: self.noises]]
        if self.limited:
            columns += [_UNUSED, Register.DIFFERENCE, _UNUSED, _UNUSED][: 2 * self.guides]
        columns += [Register.VELOCITY, Register.OTHER_VELOCITY][: self.guides]
        if shifted:
            columns += [Register.SHIFTED, _UNUSED][: self.guides]
        sums = np.zeros((len(self.steps), KEPT, _UNUSED + 1), np.float32)
        for song, step in zip(sums, self.steps, strict=True):
            song[:, :KEPT] = np.eye(KEPT)
            for register, terms in step.sums.items():
                song[register] = 0
                for term, weight in terms.items():
                    song[register, term] = weight
        return sums[..., columns]


_UNUSED = len(Register)
"""A column of weights that are 0."""


def _factors(guide: Guide) -> tuple[float, float, float]:
    """`on_base`, `push` and `fit` of `guided`."""
    if guide.formula == "apg":
        return 1.0, (guide.scale - 1) * THRESHOLD, 0.0
    if guide.formula == "cfg_star":
        return guide.scale, 0.0, 1 - guide.scale
    return 1.0, 0.0, 0.0


def _column(numbers: Sequence[float]) -> Numbers:
    return np.array(numbers, np.float32).reshape(-1, 1, 1, 1, 1)
