"""Noise levels and the flow-matching loss, as published or by a recipe's settings (spec 05 section 2)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from acestep_flows.sampling.schedule import TRAINING_STEPS
from acestep_flows.training.kinds import objective
from acestep_flows.training.loop.recipe import RecipeSection


class FlowSettings(RecipeSection):
    """The `flow` section: the density of noise levels, and the error that is minimised."""

    density: Literal["published", "logit_normal"] = Field(
        "published", description="The published table of noise levels, or a logit-normal by the numbers below."
    )
    mean: float = Field(0.0, description="logit_normal: mean of the logit.")
    deviation: float = Field(1.0, gt=0, description="logit_normal: standard deviation of the logit.")
    uniform: float = Field(0.0, ge=0, le=1, description="logit_normal: share of levels that are uniform instead.")
    shift: float = Field(1.0, gt=0, description="logit_normal: shift of levels towards noise; 1: none.")
    high_noise: float = Field(
        0.0, ge=0, le=1, description="logit_normal: share of levels that are shifted by `high_shift` instead."
    )
    high_shift: float = Field(8.0, gt=0, description="logit_normal: shift of those; 8 puts a fifth of them above 0.95.")
    error: Literal["data", "velocity"] = Field(
        "data", description="Minimised squared error: of the data estimate, as published, or of the velocity."
    )


def draw_levels(rows: int, settings: FlowSettings) -> Tensor:
    """Noise levels (rows,) in 0..1, from torch's own generator."""
    if settings.density == "published":
        return objective.draw_timesteps(rows) / TRAINING_STEPS
    level = (settings.mean + settings.deviation * torch.randn(rows)).sigmoid()
    level = torch.where(torch.rand(rows) < settings.uniform, torch.rand(rows), level)
    shift = torch.full((rows,), settings.shift)
    if settings.high_noise:
        shift[torch.rand(rows) < settings.high_noise] = settings.high_shift
    return shift * level / (1 + (shift - 1) * level)


def flow_loss(
    velocity: Tensor, noisy: Tensor, data: Tensor, noise: Tensor, levels: Tensor, mask: Tensor, settings: FlowSettings
) -> Tensor:
    """The loss of a predicted velocity: levels (B,), mask (B, T) with 1 on real frames, all others (B, 8, 16, T)."""
    if settings.error == "data":
        return objective.flow_loss(objective.data_estimate(noisy, velocity, levels), data, mask)
    squares = (velocity - (noise - data)).square().mean(dim=(1, 2)) * mask
    return squares.sum() / mask.sum()
