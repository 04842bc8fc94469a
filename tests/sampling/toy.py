"""Networks of one line, and every task in small, to watch trajectories with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acestep_flows.sampling.audio2audio import audio2audio
from acestep_flows.sampling.edit import edit
from acestep_flows.sampling.extend import extend, retake_frames
from acestep_flows.sampling.noise import SeededDraws, draw
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.repaint import repaint
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import Query, Trajectory

FRAMES = 7
SEED = 3


def noise_of(seed: int = SEED, frames: int = FRAMES) -> Tensor:
    return torch.from_numpy(draw(seed, frames))


def song_of(seed: int = 1000, frames: int = FRAMES) -> Tensor:
    """A song to start from."""
    return 0.5 * noise_of(seed, frames)


def draws_of(frames: int = FRAMES) -> SeededDraws:
    return SeededDraws(SEED, after=frames)


def velocity_of(call: Query) -> Tensor:
    """Depends on everything a call holds."""
    tilt: float = sum(map(ord, call.branch)) % 7 / 7
    return torch.sin(call.latents * (1 + tilt) + call.timestep / 1000) * math.pow(call.erg_temperature, 0.1) - tilt


def toy(calls: Sequence[Query]) -> list[Tensor]:
    return [velocity_of(call) for call in calls]


def towards(target: Tensor) -> Callable[[Sequence[Query]], list[Tensor]]:
    """The perfect network: whatever it is shown, it points at `target`."""

    def denoise(calls: Sequence[Query]) -> list[Tensor]:
        return [(call.latents - target) / (call.timestep / 1000) for call in calls]

    return denoise


@dataclass
class Recorder:
    """Notes the calls that it passes on."""

    calls: list[tuple[Query, ...]] = field(default_factory=list)

    def __call__(self, calls: Sequence[Query]) -> list[Tensor]:
        self.calls.append(tuple(calls))
        return toy(calls)

    @property
    def guided(self) -> list[bool]:
        """For each micro-step, whether more than one branch was asked."""
        return [len(calls) > 1 for calls in self.calls]


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
