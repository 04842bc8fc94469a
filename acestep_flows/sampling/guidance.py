"""Guidance: push the conditional prediction away from a null one (spec 02 section 3).

The formulas take velocities (..., 8, 16, T). Axes before the last three are songs; no formula mixes songs.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.linalg import vector_norm

from acestep_flows.sampling.joint_step import Guide
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.queries import BranchName

ERG_TEMPERATURE = 0.01
"""Factor of entropy rectifying guidance (ERG) on attention queries."""
CHANNEL = (-2, -1)
SONG = (-3, -2, -1)
ZERO_STEPS = 1
RUNNING = "running_difference"
MOMENTUM = -0.75
"""Of the running difference."""
THRESHOLD = 2.5
"""Largest norm of the difference in APG, per channel."""


def cfg(cond: Tensor, null: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance."""
    return null + scale * (cond - null)


def cfg_star(cond: Tensor, null: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance from the multiple of the null prediction that fits the conditional one best."""
    alpha = (cond * null).sum(SONG, keepdim=True) / ((null * null).sum(SONG, keepdim=True) + 1e-8)
    return alpha * null + scale * (cond - alpha * null)


def double_condition(cond: Tensor, text_only: Tensor, null: Tensor, scale_text: float, scale_lyric: float) -> Tensor:
    """Guidance with a scale of its own for the prompt and for the lyrics."""
    return (1 - scale_text) * null + (scale_text - scale_lyric) * text_only + scale_lyric * cond


def running_difference(cond: Tensor, null: Tensor, running: Tensor | None, momentum: float = MOMENTUM) -> Tensor:
    """The running difference of APG: the difference plus `momentum` times the running difference before."""
    return cond - null if running is None else cond - null + momentum * running


def apg(cond: Tensor, difference: Tensor, scale: float, eta: float = 0.0, threshold: float = THRESHOLD) -> Tensor:
    """Adaptive projected guidance (APG).

    Args:
        cond: conditional prediction.
        difference: conditional less null prediction, or its running value.
        scale: 1 changes nothing.
        eta: share kept of the part of the difference that is parallel to `cond`.
        threshold: largest norm of the difference, per channel; 0 or less: no limit.
    """
    if threshold > 0:
        norm = vector_norm(difference, dim=CHANNEL, keepdim=True)
        difference = difference * (threshold / norm).clamp(max=1)
    direction, exact = cond.double(), difference.double()
    direction = direction / vector_norm(direction, dim=CHANNEL, keepdim=True).clamp(min=1e-12)
    parallel = (exact * direction).sum(CHANNEL, keepdim=True) * direction
    orthogonal = exact - parallel
    guided: Tensor = cond + (scale - 1) * (orthogonal.to(cond.dtype) + eta * parallel.to(cond.dtype))
    return guided


def apg_guide(first: int, scale: float, running: bool) -> Guide:
    """`apg` of the answers `first` and `first + 1`, with the running difference if there is one."""
    skipped = (0.0,) * first
    return Guide((*skipped, 1.0), (*skipped, 1.0, -1.0), MOMENTUM if running else 0.0, "apg", scale)


@dataclass(frozen=True)
class Guidance:
    """The guidance of one song: the branches of each step, and how their velocities become one.

    Attributes:
        options: the user's choices.
        steps: N, of which the guided window is a share; step indices are absolute.
    """

    options: SamplerOptions
    steps: int

    @property
    def window(self) -> range:
        """The steps that are guided."""
        if not self.options.guided:
            return range(0)
        interval = self.options.guidance_interval
        return range(math.trunc(self.steps * (1 - interval) / 2), math.trunc(self.steps * (interval / 2 + 0.5)))

    def scale(self, step: int) -> float:
        """The guidance scale at a guided step."""
        options = self.options
        if options.guidance_decay <= 0:
            return options.guidance_scale
        last = len(self.window) - 1
        progress = (step - self.window.start) / last if last else 0.0  # upstream divides by zero
        fall = (options.guidance_scale - options.guidance_minimum) * options.guidance_decay
        return options.guidance_scale - fall * progress

    def branches(self, step: int) -> tuple[tuple[BranchName, float], ...]:
        """The branches to query at `step`, each with its ERG factor on the attention queries (1: none)."""
        if step not in self.window or self._starts_from_zero(step):
            return (("conditional", 1.0),)
        null: tuple[BranchName, float] = ("null", ERG_TEMPERATURE if self.options.erg_diffusion else 1.0)
        if self.options.double_condition:
            return ("conditional", 1.0), null, ("text_only", 1.0)
        return ("conditional", 1.0), null

    def combine(
        self, step: int, velocities: Sequence[Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One velocity from those of `branches(step)`, and the memory of guidance after it."""
        cond, *others = velocities
        memory_after = {RUNNING: memory[RUNNING]} if RUNNING in memory else {}
        if self._starts_from_zero(step):
            return torch.zeros_like(cond), memory_after
        if not others:
            return cond, memory_after
        null = others[0]
        if self.options.double_condition:
            scales = self.options.guidance_scale_text, self.options.guidance_scale_lyric
            return double_condition(cond, others[1], null, *scales), memory_after
        scale = self.scale(step)
        if self.options.guidance == "apg":
            running = running_difference(cond, null, memory.get(RUNNING))
            return apg(cond, running, scale), {RUNNING: running}
        formula = cfg if self.options.guidance == "cfg" else cfg_star
        return formula(cond, null, scale), memory_after

    def guide(self, step: int, names: Collection[str]) -> Guide:
        """What `combine` does, as weights; `names` are those of the memory."""
        if self._starts_from_zero(step):
            return Guide((0.0,))
        if len(self.branches(step)) == 1:
            return Guide()
        if self.options.double_condition:
            text, lyric = self.options.guidance_scale_text, self.options.guidance_scale_lyric
            return Guide((lyric, 1 - text, text - lyric))  # conditional, null, text only
        scale = self.scale(step)
        if self.options.guidance == "apg":
            return apg_guide(0, scale, RUNNING in names)
        if self.options.guidance == "cfg":
            return Guide((scale, 1 - scale))
        return Guide((1.0,), (0.0, 1.0), formula="cfg_star", scale=scale)

    def remembers(self, step: int, names: Collection[str]) -> bool:
        """Whether there is a running difference after `step`."""
        return RUNNING in names or self.guide(step, names).formula == "apg"

    def _starts_from_zero(self, step: int) -> bool:
        """Whether cfg_star gives zero at `step`: the first; in upstream the first two, if they are guided."""
        options = self.options
        if options.guidance != "cfg_star" or options.double_condition or not options.guided:
            return False
        if options.compatibility == "upstream":
            return step <= ZERO_STEPS and step in self.window
        return step < ZERO_STEPS
