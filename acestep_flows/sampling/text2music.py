"""A new song from noise (spec 02 sections 5.1 and 5.2); a retake is the same from noise turned towards another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep_flows.sampling.guidance import RUNNING, Guidance
from acestep_flows.sampling.joint_step import JointStep, Register
from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.queries import JointQuery, Query
from acestep_flows.sampling.schedule import schedule_of
from acestep_flows.sampling.solver import Heun, Pingpong, Solver, make_solver
from acestep_flows.sampling.trajectory import State, Trajectory


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

    def joint_step(self, step: int, names: Collection[str]) -> JointStep | None:
        solved = self.solver.sums(step)
        if solved is None:
            return None
        sums, memory = solved
        guided = self._guided_step(step)
        guide = self.guidance.guide(guided, names)
        level = self.solver.level(step)
        sums = {
            Register.PREVIEW: {Register.LATENTS: 1.0, Register.VELOCITY: -self.solver.schedule.sigmas[level]},
            **sums,
        }
        if guide.formula == "apg":
            sums[Register.RUNNING] = {Register.DIFFERENCE: 1.0}
        if self.guidance.remembers(guided, names):
            memory = {RUNNING: Register.RUNNING, **memory}
        timestep = self.solver.schedule.timesteps[level]
        queries = [JointQuery.of(self.frames, timestep, *branch) for branch in self.guidance.branches(guided)]
        draws = self.solver.draws if isinstance(self.solver, Pingpong) else None
        return JointStep(
            queries, sums, memory, (guide,),
            draws=draws, noises=0 if draws is None else 1, granularity=self.solver.granularity,
        )  # fmt: skip

    def registers(self, state: State) -> Mapping[Register, Tensor]:
        registers = {Register.LATENTS: state.latents, Register.PREVIEW: state.preview}
        if RUNNING in state.memory:
            registers[Register.RUNNING] = state.memory[RUNNING]
        if isinstance(self.solver, Heun) and "heun_slope" in state.memory:
            slope = state.memory["heun_slope"]
            registers[Register.FIRST], registers[Register.SECOND] = state.memory["heun_origin"], slope
            registers[Register.THIRD] = self.solver.shift(slope)
        return registers

    def _guided_step(self, k: int) -> int:
        """The step that guidance counts. Heun's two velocities belong to one step; upstream counts each of them."""
        upstream = self.guidance.options.compatibility == "upstream"
        return k if upstream else self.solver.transition(k)


def text2music(noise: Tensor, options: SamplerOptions, draws: Draws) -> Denoising:
    """A song from `noise` (8, 16, T), variation included (`noise.start_noise`); `draws` is the noise of pingpong."""
    schedule = schedule_of(options)
    guidance = Guidance(options, schedule.steps)
    return Denoising(noise, torch.zeros_like(noise), make_solver(options, schedule, draws), guidance)
