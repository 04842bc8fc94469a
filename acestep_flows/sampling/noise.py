"""Seeds and noise (spec 02 section 4): CPU generators in float32, so a seed means the same song on every machine."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from acestep_flows.errors import InputError
from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT, MAX_SEED, Compatibility, FloatArray, Noise

Seeds = int | str | Sequence[int] | None


def parse_seeds(seeds: Seeds, songs: int, compatibility: Compatibility = "corrected") -> list[int]:
    """One seed per song. None draws them; a single seed serves all; a short list repeats its last.

    Args:
        seeds: a seed, decimal digits, comma-separated digits, a list of seeds, or None.
        songs: number of seeds to return.
        compatibility: upstream treats anything else as None.

    Raises:
        InputError: `seeds` is nothing of this kind, or a seed is outside 0 .. 2^32-1.
    """
    numbers = _listed(seeds, compatibility)
    if numbers is None:
        return [secrets.randbelow(MAX_SEED + 1) for _ in range(songs)]
    for seed in numbers:
        if not 0 <= seed <= MAX_SEED:
            raise InputError(f"seed {seed}", where="seed", allowed=f"0 to {MAX_SEED}")
    return [numbers[min(song, len(numbers) - 1)] for song in range(songs)]


def _listed(seeds: Seeds, compatibility: Compatibility) -> list[int] | None:
    if seeds is None:
        return None
    parts: Sequence[object] = seeds if isinstance(seeds, list | tuple) else [seeds]
    if isinstance(seeds, str):
        parts = [int(part) if re.fullmatch(r"\s*\d+\s*", part, re.ASCII) else part for part in seeds.split(",")]
    numbers = [part for part in parts if isinstance(part, int) and not isinstance(part, bool)]
    if numbers and len(numbers) == len(parts):
        return numbers
    if compatibility == "upstream":
        return None
    raise InputError(
        f"seed {seeds!r}", where="seed", allowed=f"whole numbers from 0 to {MAX_SEED}, separated by commas"
    )


def draw(seed: int, frames: int) -> FloatArray:
    """The first noise of `seed`: standard normal (8, 16, frames)."""
    generator = torch.Generator().manual_seed(seed)
    noise: FloatArray = torch.randn(_shape(frames), generator=generator).numpy()
    return noise


def mixed(first: Tensor, retake: Tensor, variance: float) -> Tensor:
    """`first` turned towards `retake` by `variance` of a right angle: 0 gives the one, 1 the other (spec 02 5.2)."""
    angle = variance * math.pi / 2
    return math.cos(angle) * first + math.sin(angle) * retake


def start_noise(noise: Noise) -> Tensor:
    """The start noise of a new song, variation included, as (8, 16, T)."""
    first = torch.tensor(noise.array)
    return first if noise.retake is None else mixed(first, torch.tensor(noise.retake), noise.variance)


class Draws(Protocol):
    """The noise that a song draws during its steps, one tensor after the other. The position is part of its state."""

    def start(self) -> Tensor:
        """The position before the first draw."""

    def draw(self, position: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Noise of `shape`, and the position after it."""


@dataclass(frozen=True)
class SeededDraws:
    """The numbers of the generator of `seed` after a first noise of `after` frames (None: from its beginning)."""

    seed: int
    after: int | None = None

    @classmethod
    def following(cls, noise: Noise) -> SeededDraws:
        """The draws after a song's start noise, from the same generator."""
        return cls(noise.seed, noise.frames)

    def start(self) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        if self.after is not None:
            torch.randn(_shape(self.after), generator=generator)
        return generator.get_state()

    def draw(self, position: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        generator = torch.Generator()
        generator.set_state(position)
        noise = torch.randn(tuple(shape), generator=generator)
        return noise, generator.get_state()


@dataclass(frozen=True, eq=False)
class RecordedDraws:
    """Recorded noise, (draws, ...)."""

    noises: Tensor

    def start(self) -> Tensor:
        return torch.tensor(0)

    def draw(self, position: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        noise = self.noises[int(position)]
        assert noise.shape == tuple(shape), f"recorded noise is {tuple(noise.shape)}, not {tuple(shape)}"
        return noise, position + 1


def _shape(frames: int) -> tuple[int, int, int]:
    return LATENT_CHANNELS, LATENT_HEIGHT, frames
