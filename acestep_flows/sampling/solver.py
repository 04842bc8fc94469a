"""Solvers: one step along dx = v dsigma (spec 02 section 2).

A solver takes the k-th velocity of the network, k = 0, 1, ...; heun needs two velocities for one step of the schedule.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from acestep_flows.sampling.guidance import SONG
from acestep_flows.sampling.joint_step import Register, Sum
from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.schedule import Schedule
from acestep_flows.values import Compatibility

Memory = Mapping[str, Tensor]
Sums = tuple[Mapping[Register, Sum], Mapping[str, Register]]
"""What registers become, and where the tensors of the memory are afterwards."""


@dataclass(frozen=True)
class Solver(ABC):
    """One way to go down a schedule."""

    schedule: Schedule

    @property
    def evaluations(self) -> int:
        """Velocities needed in all."""
        return self.schedule.steps

    def level(self, k: int) -> int:
        """Index of the noise level of evaluation k."""
        return k

    def transition(self, k: int) -> int:
        """The step of the schedule that evaluation k belongs to."""
        return k

    def start(self) -> Memory:
        """The memory before the first step."""
        return {}

    def sums(self, k: int) -> Sums | None:
        """What `step` does, as weighted sums of registers (see `joint_step.py`).

        None where it cannot be said so: songs on a device then make their steps one by one.
        """
        return None

    @property
    def granularity(self) -> float:
        """The factor on a velocity's distance from its mean, in `Register.SHIFTED`."""
        return 1.0

    @abstractmethod
    def step(self, k: int, latents: Tensor, velocity: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """The latents after velocity k, and the memory after it."""


def granularity(omega: float) -> float:
    """The weight of omega: 0 gives 1, always within 0.9 .. 1.1."""
    return 0.9 + 0.2 / (1 + math.exp(-0.1 * omega))


@dataclass(frozen=True)
class MeanShift:
    """Scales the distance of an increment from its mean. Upstream takes one mean over all songs together."""

    omega: float
    compatibility: Compatibility = "corrected"

    def __call__(self, increment: Tensor) -> Tensor:
        per_song = self.compatibility == "corrected"
        mean = increment.mean(SONG, keepdim=True) if per_song else increment.mean()
        return (increment - mean) * granularity(self.omega) + mean


@dataclass(frozen=True)
class Euler(Solver):
    """One velocity per step."""

    shift: MeanShift

    def step(self, k: int, latents: Tensor, velocity: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        width = self.schedule.sigmas[k + 1] - self.schedule.sigmas[k]
        return latents + self.shift(width * velocity), {}

    def sums(self, k: int) -> Sums:
        width = self.schedule.sigmas[k + 1] - self.schedule.sigmas[k]
        return {Register.LATENTS: {Register.LATENTS: 1.0, Register.SHIFTED: width}}, {}

    @property
    def granularity(self) -> float:
        return granularity(self.shift.omega)


@dataclass(frozen=True)
class Heun(Solver):
    """Even velocities predict; odd ones correct from the prediction's origin. The step to zero has no correction."""

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

    def sums(self, k: int) -> Sums:
        """FIRST is the origin, SECOND the slope there, THIRD the same shifted."""
        j = self.transition(k)
        width = self.schedule.sigmas[j + 1] - self.schedule.sigmas[j]
        if k % 2:
            slopes = {Register.THIRD: width / 2, Register.SHIFTED: width / 2}
            return {Register.LATENTS: {Register.FIRST: 1.0, **slopes}}, {}
        sums: dict[Register, Sum] = {
            Register.LATENTS: {Register.LATENTS: 1.0, Register.SHIFTED: width},
            Register.FIRST: {Register.LATENTS: 1.0},
            Register.SECOND: {Register.VELOCITY: 1.0},
            Register.THIRD: {Register.SHIFTED: 1.0},
        }
        return sums, {"heun_origin": Register.FIRST, "heun_slope": Register.SECOND}

    @property
    def granularity(self) -> float:
        return granularity(self.shift.omega)


@dataclass(frozen=True)
class Pingpong(Solver):
    """Go to the estimated song, then back to the next noise level with new noise."""

    draws: Draws

    def start(self) -> Memory:
        return {"draws": self.draws.start()}

    def step(self, k: int, latents: Tensor, velocity: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        sigma, sigma_next = self.schedule.sigmas[k : k + 2]
        song = latents - sigma * velocity
        # Drawn in the last step too, where its weight is 0: the order of draws is part of the meaning of a seed.
        noise, position = self.draws.draw(memory["draws"], latents.shape)
        return (1 - sigma_next) * song + sigma_next * noise.to(latents.device), {"draws": position}

    def sums(self, k: int) -> Sums:
        sigma, sigma_next = self.schedule.sigmas[k : k + 2]
        kept = 1 - sigma_next
        latents = {Register.LATENTS: kept, Register.VELOCITY: -kept * sigma, Register.NOISE: sigma_next}
        return {Register.LATENTS: latents}, {}


def make_solver(options: SamplerOptions, schedule: Schedule, draws: Draws) -> Solver:
    """The solver that `options` name; `draws` is the noise of pingpong."""
    shift = MeanShift(options.omega, options.compatibility)
    if options.solver == "euler":
        return Euler(schedule, shift)
    if options.solver == "heun":
        return Heun(schedule, shift)
    return Pingpong(schedule, draws)
