"""Paint part of a song anew and keep the rest exactly (spec 02 section 5.3); `extend` builds on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.sampling.guidance import RUNNING, Guidance
from acestep_flows.sampling.joint_step import Frames, JointStep, Register, Sum
from acestep_flows.sampling.noise import Draws, mixed
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.queries import JointQuery, Query
from acestep_flows.sampling.schedule import named_steps, schedule_of, skipped_steps
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import State, Trajectory, noised

SPANS = 2
"""Painted spans of one pass, at the most."""


@dataclass(frozen=True)
class Pass:
    """One run down the schedule: queries hold the frames of `window`; those of `painted` are made anew."""

    window: Frames
    painted: tuple[Frames, ...]


@dataclass(frozen=True, eq=False)
class Painting(Trajectory):
    """Plain Euler on the painted frames; the kept ones are the source under the noise of each level.

    Attributes:
        source: (8, 16, T) the song; the content of painted frames is not used.
        noise: (8, 16, T) the start of each frame.
        passes: one after the other, each on the result of the one before.
        timesteps: of all N steps, also those skipped.
        levels: N + 1 noise levels.
        first: the step to start at, n_min; the guided window counts the skipped steps too.
    """

    source: Tensor
    noise: Tensor
    passes: tuple[Pass, ...]
    timesteps: tuple[float, ...]
    levels: tuple[float, ...]
    first: int
    guidance: Guidance

    @property
    def steps(self) -> int:
        return len(self.passes) * self._pass_steps

    @property
    def frames(self) -> int:
        return self.source.shape[-1]

    def start(self) -> State:
        if self.steps == 0:
            return State(0, self.source, self.source)
        return State(0, self._enter(0, self.source), self.source)

    def queries(self, state: State) -> tuple[Query, ...]:
        number, step = self._position(state.step)
        latents = _cut(state.latents, self.passes[number].window)
        branches = self.guidance.branches(step)
        return tuple(
            Query(latents, self.timesteps[step], branch, erg_temperature) for branch, erg_temperature in branches
        )

    def advance(self, state: State, velocities: Sequence[Tensor]) -> State:
        number, step = self._position(state.step)
        window, painted = self.passes[number].window, self._painted[number]
        level, level_next = self.levels[step : step + 2]
        song = state.memory.get("song", self.source)  # clean: the source, or what earlier passes made of it
        source, noise, latents = (_cut(tensor, window) for tensor in (song, self.noise, state.latents))

        velocity, memory = self.guidance.combine(step, velocities, state.memory)
        moved = latents + (level_next - level) * velocity
        moved = torch.where(painted, moved, noised(source, noise, level_next))
        preview = torch.where(painted, latents - level * velocity, source)

        canvas = _paste(state.latents, window, moved)
        preview = _paste(song, window, preview)
        done = state.step + 1
        if done % self._pass_steps == 0 and done < self.steps:
            return State(done, self._enter(number + 1, canvas), preview, {"song": canvas})
        if "song" in state.memory:
            memory = {**memory, "song": song}
        return State(done, canvas, preview, memory)

    def joint_step(self, step: int, names: Collection[str]) -> JointStep | None:
        """FIRST is the painted part of the latents, SECOND and THIRD are source and noise of the kept part."""
        if (step + 1) % self._pass_steps == 0 and step + 1 < self.steps:
            return None  # the next pass looks at other frames
        number, step = self._position(step)
        (start, stop), painted = self.passes[number].window, self.passes[number].painted
        if len(painted) > SPANS:
            return None
        level, level_next = self.levels[step : step + 2]
        guide = self.guidance.guide(step, names)
        moved = {Register.FIRST: 1.0, Register.VELOCITY: level_next - level}
        sums: dict[Register, Sum] = {
            Register.LATENTS: {**moved, Register.SECOND: 1 - level_next, Register.THIRD: level_next},
            Register.PREVIEW: {Register.FIRST: 1.0, Register.VELOCITY: -level, Register.SECOND: 1.0},
            Register.FIRST: moved,
        }
        if guide.formula == "apg":
            sums[Register.RUNNING] = {Register.DIFFERENCE: 1.0}
        memory = {RUNNING: Register.RUNNING} if self.guidance.remembers(step, names) else {}
        timestep = self.timesteps[step]
        queries = [JointQuery.of(stop - start, timestep, *branch) for branch in self.guidance.branches(step)]
        spans = [(max(0, first - start), min(stop, last) - start) for first, last in painted]
        return JointStep(queries, sums, memory, (guide,), painted=spans)

    def registers(self, state: State) -> Mapping[Register, Tensor]:
        number, _ = self._position(state.step)
        window, painted = self.passes[number].window, self._painted[number].to(state.latents.device)
        song = state.memory.get("song", self.source)
        source, noise, latents, preview = (
            _cut(tensor.to(state.latents.device), window) for tensor in (song, self.noise, state.latents, state.preview)
        )
        registers = {Register.LATENTS: latents, Register.PREVIEW: preview, Register.FIRST: latents * painted}
        registers |= {Register.SECOND: source * ~painted, Register.THIRD: noise * ~painted}
        if RUNNING in state.memory:
            registers[Register.RUNNING] = state.memory[RUNNING]
        return registers

    def state_of(
        self, step: int, registers: Tensor, memory: Mapping[str, Register], other: Mapping[str, Tensor]
    ) -> State:
        state = super().state_of(step, registers, memory, other)
        number, _ = self._position(step - 1)
        window, song = self.passes[number].window, other.get("song", self.source).to(registers.device)
        canvas, preview = (_paste(song, window, part) for part in (state.latents, state.preview))
        return State(step, canvas, preview, state.memory)

    @property
    def _pass_steps(self) -> int:
        return max(0, len(self.timesteps) - self.first)

    def _position(self, done: int) -> tuple[int, int]:
        """Number of the pass, and of the step in it, after `done` steps."""
        number, step = divmod(done, self._pass_steps)
        return number, self.first + step

    def _enter(self, number: int, song: Tensor) -> Tensor:
        """`song` with the window of pass `number` at that pass's first noise level."""
        window = self.passes[number].window
        start = noised(_cut(song, window), _cut(self.noise, window), self.levels[self.first])
        return _paste(song, window, start)

    @cached_property
    def _painted(self) -> tuple[Tensor, ...]:
        """Per pass, which frames of its window are painted: (frames,) bool."""
        masks = []
        for sweep in self.passes:
            mask = torch.zeros(self.frames, dtype=torch.bool, device=self.source.device)
            for start, stop in sweep.painted:
                mask[start:stop] = True
            masks.append(_cut(mask, sweep.window))
        return tuple(masks)


def paint(
    source: Tensor, noise: Tensor, passes: Sequence[Pass], variance: float, options: SamplerOptions
) -> Trajectory:
    """The painting of `passes` on `source` from `noise`, both (8, 16, T)."""
    schedule = schedule_of(options)
    guidance = Guidance(options, schedule.steps)
    first = skipped_steps(named_steps(options, schedule.steps), variance)
    if options.compatibility == "upstream" and options.solver == "heun":
        schedule = schedule.doubled()  # half of the steps then have no length
    if options.compatibility == "upstream" and first >= schedule.steps:
        source = noise  # upstream skips every step and returns what it would have started from
    return Painting(source, noise, tuple(passes), schedule.timesteps, schedule.levels, first, guidance)


def repaint(
    source: Tensor,
    noise: Tensor,
    retake: Tensor,
    span: Frames,
    variance: float,
    options: SamplerOptions,
    draws: Draws,
) -> Trajectory:
    """`source` (8, 16, T) with the frames of `span` made anew.

    Args:
        noise: (8, 16, T), of the seed.
        retake: (8, 16, T), of the retake seed.
        variance: 0 keeps the span as it is, 1 makes it wholly new.
        draws: used by upstream compatibility alone, which treats a span over the whole song as a retake.

    Raises:
        InputError: the span is not inside the song, variance outside 0..1, noise of another length.
    """
    frames = source.shape[-1]
    check_painting(source, noise, variance)
    if not 0 <= span[0] < span[1] <= frames:
        raise InputError(
            f"frames {span[0]} to {span[1]}", where="span", allowed=f"at least one of frames 0 to {frames}"
        )
    if retake.shape[-1] != frames:
        raise InputError(f"{retake.shape[-1]} frames", where="noise.retake", allowed=f"{frames}, as the source")
    turned = mixed(noise, retake, variance)
    if options.compatibility == "upstream" and span == (0, frames):
        return text2music(turned, options, draws)
    start = torch.cat([noise[..., : span[0]], turned[..., span[0] : span[1]], noise[..., span[1] :]], dim=-1)
    return paint(source.expand_as(noise), start, [Pass((0, frames), (span,))], variance, options)


def check_painting(source: Tensor, noise: Tensor, variance: float) -> None:
    """Raise InputError unless variance is 0..1 and the noise as long as the source."""
    if not 0 <= variance <= 1:
        raise InputError(f"{variance}", where="variance", allowed="0 to 1")
    if noise.shape[-1] != source.shape[-1]:
        raise InputError(f"{noise.shape[-1]} frames", where="noise", allowed=f"{source.shape[-1]}, as the source")


def _cut(tensor: Tensor, window: Frames) -> Tensor:
    return tensor[..., window[0] : window[1]]


def _paste(canvas: Tensor, window: Frames, content: Tensor) -> Tensor:
    return torch.cat([canvas[..., : window[0]], content, canvas[..., window[1] :]], dim=-1)
