"""Networks of one line, and every task in small, to watch trajectories with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acestep_flows.sampling.audio2audio import audio2audio
from acestep_flows.sampling.denoiser import Denoiser, QueryRow
from acestep_flows.sampling.edit import edit
from acestep_flows.sampling.extend import extend, retake_frames
from acestep_flows.sampling.loop import denoise
from acestep_flows.sampling.noise import SeededDraws, draw
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.repaint import repaint
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import Query, State, Trajectory

FRAMES = 7
SEED = 3


def noise_of(seed: int = SEED, frames: int = FRAMES) -> Tensor:
    return torch.from_numpy(draw(seed, frames))


def song_of(seed: int = 1000, frames: int = FRAMES) -> Tensor:
    """A song to start from."""
    return 0.5 * noise_of(seed, frames)


def draws_of(frames: int = FRAMES) -> SeededDraws:
    return SeededDraws(SEED, after=frames)


def velocity_of(query: Query) -> Tensor:
    """Depends on everything a query holds."""
    tilt: float = sum(map(ord, query.branch)) % 7 / 7
    return torch.sin(query.latents * (1 + tilt) + query.timestep / 1000) * math.pow(query.erg_temperature, 0.1) - tilt


def toy(queries: Sequence[Query]) -> list[Tensor]:
    return [velocity_of(query) for query in queries]


@dataclass(frozen=True, eq=False)
class FunctionDenoiser(Denoiser):
    """Answers queries by a function."""

    answer: Callable[[Sequence[Query]], Sequence[Tensor]]

    def predict(self, rows: Sequence[QueryRow]) -> Sequence[Tensor]:
        return self.answer([row.query for row in rows])


def finish(
    trajectory: Trajectory,
    answer: Callable[[Sequence[Query]], Sequence[Tensor]],
    on_step: Callable[[State], None] | None = None,
    state: State | None = None,
) -> State:
    """The last state of a song whose queries `answer` answers."""
    return denoise(trajectory, FunctionDenoiser(answer), on_step, state=state)


def towards(target: Tensor) -> Callable[[Sequence[Query]], list[Tensor]]:
    """The perfect network: whatever it is shown, it points at `target`."""

    def answer(queries: Sequence[Query]) -> list[Tensor]:
        return [(query.latents - target) / (query.timestep / 1000) for query in queries]

    return answer


@dataclass
class Recorder:
    """Records the queries of every step and answers them as `toy` does."""

    steps: list[tuple[Query, ...]] = field(default_factory=list)

    def __call__(self, queries: Sequence[Query]) -> list[Tensor]:
        self.steps.append(tuple(queries))
        return toy(queries)

    @property
    def guided(self) -> list[bool]:
        """For each micro-step, whether more than one branch was asked."""
        return [len(queries) > 1 for queries in self.steps]


def extended(left: int, right: int, options: SamplerOptions, frames: int = FRAMES, variance: float = 1.0) -> Trajectory:
    retake = noise_of(SEED + 1, retake_frames(frames, left, right))
    return extend(song_of(frames=frames), noise_of(frames=frames), retake, left, right, options, draws_of(), variance)


def repainted(span: tuple[int, int], options: SamplerOptions, variance: float = 0.7) -> Trajectory:
    return repaint(song_of(), noise_of(), noise_of(SEED + 1), span, variance, options, draws_of())


TASKS: dict[str, Callable[[SamplerOptions], Trajectory]] = {
    "text2music": lambda options: text2music(noise_of(), options, draws_of()),
    "audio2audio": lambda options: audio2audio(song_of(), noise_of(), 0.4, options, draws_of()),
    "repaint": lambda options: repainted((2, 5), options),
    "extend": lambda options: extended(2, 9, options),
    "edit": lambda options: edit(song_of(), options, SeededDraws(SEED), minimum=0.2, maximum=0.6, averages=2),
}
