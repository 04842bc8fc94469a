"""A new song from noise (spec 02 sections 5.1 and 5.2); a retake is the same from noise turned towards another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep_flows.sampling.guidance import Guidance
from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.schedule import schedule_of
from acestep_flows.sampling.solver import Solver, make_solver
from acestep_flows.sampling.trajectory import Query, State, Trajectory


@dataclass(frozen=True, eq=False)
class Denoising(Trajectory):
    """From a noisy start down the schedule, each step by the solver.

    Attributes:
        origin: (8, 16, T), the start.
        guess: (8, 16, T), the estimate of the song before the first step.
    """

    origin: Tensor
    guess: Tensor
    solver: Solver
    guidance: Guidance

    @property
    def steps(self) -> int:
        return self.solver.evaluations

    @property
    def frames(self) -> int:
        return self.origin.shape[-1]

    def start(self) -> State:
        return State(0, self.origin, self.guess, self.solver.start())

    def queries(self, state: State) -> tuple[Query, ...]:
        timestep = self.solver.schedule.timesteps[self.solver.level(state.step)]
        branches = self.guidance.branches(self._guided_step(state.step))
        return tuple(Query(state.latents, timestep, branch, erg_temperature) for branch, erg_temperature in branches)

    def advance(self, state: State, velocities: Sequence[Tensor]) -> State:
        k = state.step
        velocity, guided = self.guidance.combine(self._guided_step(k), velocities, state.memory)
        latents, solved = self.solver.step(k, state.latents, velocity, state.memory)
        sigma = self.solver.schedule.sigmas[self.solver.level(k)]
        return State(k + 1, latents, state.latents - sigma * velocity, {**guided, **solved})

    def _guided_step(self, k: int) -> int:
        """The step that guidance counts. Heun's two velocities belong to one step; upstream counts each of them."""
        upstream = self.guidance.options.compatibility == "upstream"
        return k if upstream else self.solver.transition(k)


def text2music(noise: Tensor, options: SamplerOptions, draws: Draws) -> Denoising:
    """A song from `noise` (8, 16, T), variation included (`noise.start_noise`); `draws` is the noise of pingpong."""
    schedule = schedule_of(options)
    guidance = Guidance(options, schedule.steps)
    return Denoising(noise, torch.zeros_like(noise), make_solver(options, schedule, draws), guidance)
