"""Solvers: one step along dx = v dsigma (spec 02 section 2).

A solver takes the k-th answer of the network, k = 0, 1, ...; heun needs two answers for one step of the schedule.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from acestep_flows.sampling.guidance import SONG
from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.schedule import Schedule
from acestep_flows.values import Compatibility

Memory = Mapping[str, Tensor]


@dataclass(frozen=True)
class Solver(ABC):
    schedule: Schedule

    @property
    def evaluations(self) -> int:
        """How often the network is asked in all."""
        return self.schedule.steps

    def level(self, k: int) -> int:
        """The noise level that answer k is asked at."""
        return k

    def transition(self, k: int) -> int:
        """The step of the schedule that answer k belongs to."""
        return k

    def start(self) -> Memory:
        """What is remembered before the first step."""
        return {}

    @abstractmethod
    def step(self, k: int, latents: Tensor, velocity: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """The latents after answer k, and what to remember from now on."""


def granularity(omega: float) -> float:
    """The weight that omega stands for: 0 gives 1, never outside 0.9 .. 1.1."""
    return 0.9 + 0.2 / (1 + math.exp(-0.1 * omega))


@dataclass(frozen=True)
class MeanShift:
    """Weights how far an increment strays from its mean; upstream takes one mean over all songs together."""

    omega: float
    compatibility: Compatibility = "corrected"

    def __call__(self, increment: Tensor) -> Tensor:
        alone = self.compatibility == "corrected"
        mean = increment.mean(SONG, keepdim=True) if alone else increment.mean()
        return (increment - mean) * granularity(self.omega) + mean


@dataclass(frozen=True)
class Euler(Solver):
    shift: MeanShift

    def step(self, k: int, latents: Tensor, velocity: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        width = self.schedule.sigmas[k + 1] - self.schedule.sigmas[k]
        return latents + self.shift(width * velocity), {}


@dataclass(frozen=True)
class Heun(Solver):
    """Even answers predict, odd ones correct from where the prediction began; the step to zero is not corrected."""

    shift: MeanShift

    @property
    def evaluations(self) -> int:
        return max(0, 2 * self.schedule.steps - 1)

    def level(self, k: int) -> int:
        return (k + 1) // 2

    def transition(self, k: int) -> int:
        return k // 2

    def step(self, k: int, latents: Tensor, velocity: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        j = self.transition(k)
        width = self.schedule.sigmas[j + 1] - self.schedule.sigmas[j]
        if k % 2 == 0:
            return latents + self.shift(width * velocity), {"heun_origin": latents, "heun_slope": velocity}
        slope = 0.5 * (memory["heun_slope"] + velocity)
        return memory["heun_origin"] + self.shift(slope * width), {}


@dataclass(frozen=True)
class Pingpong(Solver):
    """Go to the estimated song, and back to the next noise level with fresh noise."""

    draws: Draws

    def start(self) -> Memory:
        return {"draws": self.draws.start()}

    def step(self, k: int, latents: Tensor, velocity: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        sigma, sigma_next = self.schedule.sigmas[k : k + 2]
        song = latents - sigma * velocity
        # Drawn in the last step too, where it counts for nothing: the order of draws is part of what a seed means.
        noise, position = self.draws.draw(memory["draws"], latents.shape)
        return (1 - sigma_next) * song + sigma_next * noise, {"draws": position}


def make_solver(options: SamplerOptions, schedule: Schedule, draws: Draws) -> Solver:
    shift = MeanShift(options.omega, options.compatibility)
    if options.solver == "euler":
        return Euler(schedule, shift)
    if options.solver == "heun":
        return Heun(schedule, shift)
    return Pingpong(schedule, draws)
