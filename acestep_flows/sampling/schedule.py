"""Noise levels and timesteps (spec 02 section 1). The rounding order is part of the contract.

The timestep is an input of the network: one unit in the last place of a float32 timestep moves the final latents by
about 1e-4. So grid and shift are float64, then one cast to float32, then the product with 1000 in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.values import Compatibility

SHIFT = 3.0
TRAINING_STEPS = 1000

Levels = NDArray[np.float32]


@dataclass(frozen=True)
class Schedule:
    """N steps from noise to song. Every number is a float32 held exactly in a Python float.

    Attributes:
        sigmas: N + 1 noise levels, falling, the last 0.
        timesteps: N timesteps, the network's input: 1000 * sigma.
    """

    sigmas: tuple[float, ...]
    timesteps: tuple[float, ...]

    @property
    def steps(self) -> int:
        return len(self.timesteps)

    @property
    def levels(self) -> tuple[float, ...]:
        """N + 1 noise levels computed back from the timesteps, for repaint and edit: `sigmas` but for rounding."""
        return (*_floats(np.asarray(self.timesteps, np.float32) / np.float32(TRAINING_STEPS)), 0.0)

    def doubled(self) -> Schedule:
        """The layout of Heun's 2N - 1 evaluations: every level but the first occurs twice (spec 02 section 1.3)."""
        sigmas = [sigma for sigma in self.sigmas[1:-1] for _ in range(2)]
        timesteps = [timestep for timestep in self.timesteps[1:] for _ in range(2)]
        return Schedule((*self.sigmas[:1], *sigmas, 0.0), (*self.timesteps[:1], *timesteps))


def shift(sigma: float) -> float:
    """A noise level moved towards 1, as the levels near 1 decide a song's structure."""
    return SHIFT * sigma / (1 + (SHIFT - 1) * sigma)


def training_sigmas(sigma_cap: float = 1.0) -> Levels:
    """The 1000 once-shifted noise levels that training draws from (spec 02 section 1.1)."""
    grid = np.linspace(sigma_cap * TRAINING_STEPS, 1, TRAINING_STEPS, dtype=np.float32) / np.float32(TRAINING_STEPS)
    return _shift_float32(grid)


def even_schedule(steps: int, sigma_cap: float = 1.0) -> Schedule:
    """`steps` steps below the shifted `sigma_cap`; the shift acts twice (spec 02 section 1.2)."""
    if steps == 0:
        return Schedule((0.0,), ())
    table = training_sigmas(sigma_cap)
    grid = np.linspace(float(table[0]), float(table[-1]), steps)
    return _schedule(np.array([shift(sigma) for sigma in grid], np.float32))


def picked_schedule(indices: Sequence[int], compatibility: Compatibility) -> Schedule:
    """The steps numbered `indices` (from 1) of the even schedule with max(indices) steps (OSS, spec 02 section 1.4)."""
    whole = even_schedule(max(indices))
    if compatibility == "corrected":
        return _schedule(np.array([whole.sigmas[index - 1] for index in indices], np.float32))
    picked = np.array([whole.timesteps[index - 1] for index in indices], np.float32)
    return _schedule(_shift_float32(picked / np.float32(TRAINING_STEPS)))  # upstream shifts a third time


def schedule_of(options: SamplerOptions) -> Schedule:
    """The schedule of a song from pure noise."""
    if options.oss_steps is not None:
        return picked_schedule(options.oss_steps, options.compatibility)
    return even_schedule(options.steps)


def named_steps(options: SamplerOptions, run: int) -> int:
    """The step count that shares are taken of: `run`, but in upstream the largest number of an OSS list."""
    upstream = options.compatibility == "upstream"
    return options.oss_steps[-1] if upstream and options.oss_steps is not None else run


def reduced_steps(steps: int, sigma_cap: float) -> int:
    """How many of `steps` remain below `sigma_cap`; truncated in floating point (spec 02 section 5.6)."""
    return math.trunc(sigma_cap * steps)


def skipped_steps(steps: int, variance: float) -> int:
    """How many steps repaint skips at the noisy end, n_min; truncated in floating point (spec 02 section 5.3)."""
    return math.trunc(steps * (1 - variance))


def _schedule(sigmas: Levels) -> Schedule:
    return Schedule((*_floats(sigmas), 0.0), _floats(sigmas * np.float32(TRAINING_STEPS)))


def _shift_float32(sigmas: Levels) -> Levels:
    k = np.float32(SHIFT)
    return k * sigmas / (1 + (k - 1) * sigmas)


def _floats(numbers: Levels) -> tuple[float, ...]:
    return tuple(float(number) for number in numbers)
