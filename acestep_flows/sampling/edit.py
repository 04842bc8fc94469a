"""FlowEdit: move a song along the difference of two predictions and keep the rest (spec 02 section 5.5).

Every step is guided by APG with the given scale. Guidance kind, window, decay, omega, ERG and OSS have no effect here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.sampling.guidance import apg, apg_guide, running_difference
from acestep_flows.sampling.joint_step import Guide, JointStep, Register, Sum
from acestep_flows.sampling.noise import Draws
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.queries import BranchName, JointQuery, Query
from acestep_flows.sampling.schedule import even_schedule
from acestep_flows.sampling.trajectory import State, Trajectory, noised


@dataclass(frozen=True, eq=False)
class FlowEdit(Trajectory):
    """First carry the song along the difference of target and source, then sample it under the target alone (FlowEdit).

    Steps before `first` are skipped, those before `turn` carry, the rest sample. A carrying step averages over
    `averages` noises; each is a micro-step of its own.

    Attributes:
        source: (8, 16, T).
        timesteps: of all N steps.
        levels: N + 1 noise levels.
        draws: every noise of the edit, in order of use.
    """

    source: Tensor
    timesteps: tuple[float, ...]
    levels: tuple[float, ...]
    first: int
    turn: int
    averages: int
    options: SamplerOptions
    draws: Draws

    @property
    def steps(self) -> int:
        return self._carrying + len(self.timesteps) - self.turn

    @property
    def frames(self) -> int:
        return self.source.shape[-1]

    def start(self) -> State:
        state = State(0, self.source, self.source, {"draws": self.draws.start()})
        return self._turned(state) if self._carrying == 0 else state

    def queries(self, state: State) -> tuple[Query, ...]:
        step = self._step(state.step)
        if not self._carries(state):
            return self._ask(state.latents, step, "target", "target_null")
        noise, _ = self._draw(state.memory["draws"])
        origin = noised(self.source, noise, self.levels[step])
        target = origin + (state.latents - self.source)  # exactly the origin as long as nothing has moved
        return self._ask(origin, step, "source", "source_null") + self._ask(target, step, "target", "target_null")

    def advance(self, state: State, velocities: Sequence[Tensor]) -> State:
        return self._carry(state, velocities) if self._carries(state) else self._sample(state, velocities)

    def _carry(self, state: State, velocities: Sequence[Tensor]) -> State:
        """One noise of a carrying step; the last one moves the song."""
        step = self._step(state.step)
        level, level_next = self.levels[step : step + 2]
        half = len(velocities) // 2
        origin, running = self._guide(velocities[:half], state.memory.get("running_source"))
        # As upstream: the target has no running difference while it is carried.
        target, _ = self._guide(velocities[half:], None)
        difference = state.memory.get("difference", 0.0) + (target - origin) / self.averages
        _, position = self._draw(state.memory["draws"])

        latents, preview = state.latents, state.preview
        memory = {"draws": position} | ({} if running is None else {"running_source": running})
        if (state.step + 1) % self.averages:
            memory["difference"] = difference
        else:
            preview = latents - level * difference
            if not self._pingpong or self.options.compatibility == "corrected":  # upstream drops the pingpong move
                latents = latents + (level_next - level) * difference
        moved = State(state.step + 1, latents, preview, memory)
        return self._turned(moved) if moved.step == self._carrying else moved

    def _turned(self, state: State) -> State:
        """The carried song at the noise level where sampling begins; the song itself if no step samples."""
        if self.turn >= len(self.timesteps):
            return state
        noise, position = self._draw(state.memory["draws"])
        latents = noised(self.source, noise, self.levels[self.turn]) + (state.latents - self.source)
        return State(state.step, latents, state.preview, {"draws": position})

    def _sample(self, state: State, velocities: Sequence[Tensor]) -> State:
        step = self._step(state.step)
        level, level_next = self.levels[step : step + 2]
        velocity, running = self._guide(velocities, state.memory.get("running_target"))
        preview = state.latents - level * velocity
        memory = {"draws": state.memory["draws"]} | ({} if running is None else {"running_target": running})
        if self._pingpong:
            noise, memory["draws"] = self._draw(memory["draws"])
            latents = noised(preview, noise, level_next)
        else:
            latents = state.latents + (level_next - level) * velocity
        return State(state.step + 1, latents, preview, memory)

    def joint_step(self, step: int, names: Collection[str]) -> JointStep | None:
        return self._joint_carry(step, names) if step < self._carrying else self._joint_sample(step, names)

    def _joint_carry(self, k: int, names: Collection[str]) -> JointStep:
        """FIRST is the difference, SECOND the source, THIRD what the song is more than the source.

        The network is asked about the source and about the target.
        """
        step = self._step(k)
        level = self.levels[step]
        origin: Sum = {Register.SECOND: 1 - level, Register.NOISE: level}
        target: Sum = {**origin, Register.THIRD: 1.0}  # exactly the origin as long as nothing has moved
        branches: list[tuple[BranchName, int]] = [("source", 0), ("source_null", 0), ("target", 1), ("target_null", 1)]
        guides: tuple[Guide, Guide] = Guide((1.0,)), Guide((0.0, 1.0))
        if self.options.guided:
            scale = self.options.guidance_scale
            guides = apg_guide(0, scale, "running_source" in names), apg_guide(2, scale, running=False)
        else:
            branches = branches[::2]
        sums, turns = self._joint_move(k, "difference" in names)
        memory = {"running_source": Register.RUNNING} if self.options.guided and not turns else {}
        if (k + 1) % self.averages:
            memory["difference"] = Register.FIRST
        queries = [JointQuery.of(self.frames, self.timesteps[step], branch, ask=ask) for branch, ask in branches]
        return JointStep(queries, sums, memory, guides, (origin, target), self.draws, 2 if turns else 1)

    def _joint_move(self, k: int, begun: bool) -> tuple[Mapping[Register, Sum], bool]:
        """The sums of a carrying step, and whether it turns to sampling.

        Args:
            begun: whether there is a difference of earlier noises of the same step.
        """
        step = self._step(k)
        level, level_next = self.levels[step : step + 2]
        difference: dict[Register, float] = {
            Register.OTHER_VELOCITY: 1 / self.averages,
            Register.VELOCITY: -1 / self.averages,
        }
        if begun:
            difference[Register.FIRST] = 1.0
        sums: dict[Register, Sum] = {Register.FIRST: difference, Register.RUNNING: {Register.DIFFERENCE: 1.0}}
        if (k + 1) % self.averages:
            return sums, False
        moves = not self._pingpong or self.options.compatibility == "corrected"  # upstream drops the pingpong move
        move = _times(level_next - level, difference) if moves else {}
        moved = {Register.LATENTS: 1.0} | move
        turns = k + 1 == self._carrying and self.turn < len(self.timesteps)
        if turns:
            sampled = self.levels[self.turn]
            moved |= {Register.SECOND: -sampled, Register.LATER_NOISE: sampled}
        sums |= {Register.LATENTS: moved, Register.THIRD: {Register.THIRD: 1.0} | move}
        sums[Register.PREVIEW] = {Register.LATENTS: 1.0} | _times(-level, difference)
        return sums, turns

    def _joint_sample(self, k: int, names: Collection[str]) -> JointStep:
        step = self._step(k)
        level, level_next = self.levels[step : step + 2]
        estimate: Sum = {Register.LATENTS: 1.0, Register.VELOCITY: -level}
        latents: Sum = {Register.LATENTS: 1.0, Register.VELOCITY: level_next - level}
        if self._pingpong:
            latents = _times(1 - level_next, estimate) | {Register.NOISE: level_next}
        sums: dict[Register, Sum] = {Register.PREVIEW: estimate, Register.LATENTS: latents}
        branches: tuple[BranchName, ...] = ("target",)
        guide, memory = Guide(), {}
        if self.options.guided:
            branches = ("target", "target_null")
            guide = apg_guide(0, self.options.guidance_scale, "running_target" in names)
            sums[Register.RUNNING] = {Register.DIFFERENCE: 1.0}
            memory = {"running_target": Register.RUNNING}
        queries = [JointQuery.of(self.frames, self.timesteps[step], branch) for branch in branches]
        return JointStep(queries, sums, memory, (guide,), draws=self.draws, noises=1 if self._pingpong else 0)

    def registers(self, state: State) -> Mapping[Register, Tensor]:
        source = self.source.to(state.latents.device)
        registers = {Register.LATENTS: state.latents, Register.PREVIEW: state.preview}
        registers |= {Register.SECOND: source, Register.THIRD: state.latents - source}
        places = {"running_source": Register.RUNNING, "running_target": Register.RUNNING, "difference": Register.FIRST}
        return registers | {places[name]: state.memory[name] for name in places if name in state.memory}

    def _guide(self, velocities: Sequence[Tensor], running: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if not self.options.guided:
            return velocities[0], None
        cond, null = velocities
        running = running_difference(cond, null, running)
        return apg(cond, running, self.options.guidance_scale), running

    def _draw(self, position: Tensor) -> tuple[Tensor, Tensor]:
        noise, position = self.draws.draw(position, self.source.shape)
        return noise.to(self.source.device), position

    def _ask(self, latents: Tensor, step: int, branch: BranchName, null: BranchName) -> tuple[Query, ...]:
        branches = (branch, null) if self.options.guided else (branch,)
        return tuple(Query(latents, self.timesteps[step], name) for name in branches)

    @property
    def _carrying(self) -> int:
        """Micro-steps that carry."""
        return (self.turn - self.first) * self.averages

    def _carries(self, state: State) -> bool:
        return state.step < self._carrying

    def _step(self, k: int) -> int:
        """The schedule's step that micro-step k belongs to."""
        return self.first + k // self.averages if k < self._carrying else self.turn + k - self._carrying

    @property
    def _pingpong(self) -> bool:
        return self.options.solver == "pingpong"


def _times(factor: float, terms: Sum) -> dict[Register, float]:
    return {register: factor * weight for register, weight in terms.items()}


def edit(
    source: Tensor,
    options: SamplerOptions,
    draws: Draws,
    *,
    minimum: float = 0.0,
    maximum: float = 1.0,
    averages: int = 1,
) -> FlowEdit:
    """`source` (8, 16, T) moved from the conditions of the source branches to those of the target branches.

    Args:
        draws: all noise of the edit, `SeededDraws(seed)` from its beginning.
        minimum: share of the steps, from the noisy end, that is left out: what these steps decide is kept.
        maximum: share after which the song is sampled under the target alone.
            For lyrics alone 0.6 and 1 do well, for a remix 0.2 and 0.4.
        averages: noises per carrying step.

    Raises:
        InputError: not 0 <= minimum <= maximum <= 1, or no average.
    """
    if not 0 <= minimum <= maximum <= 1:
        raise InputError(f"{minimum} to {maximum}", where="edit", allowed="0 <= minimum <= maximum <= 1")
    if averages < 1:
        raise InputError(f"{averages}", where="averages", allowed="1 or more")
    schedule = even_schedule(options.steps)
    first, turn = (math.trunc(options.steps * share) for share in (minimum, maximum))
    return FlowEdit(source, schedule.timesteps, schedule.levels, first, turn, averages, options, draws)
