"""The published loss: flow matching on the data estimate, and alignment with audio teachers (spec 05 section 2).

sigma = training_sigmas[index drawn by draw_timesteps]
x = sigma * noise + (1 - sigma) * data
estimate = x - sigma * velocity(x, 1000 * sigma)
loss = flow_loss(estimate, data, mask) + coefficient * mean(teacher distances)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from acestep_flows.sampling.schedule import TRAINING_STEPS, training_sigmas

TEXT_DROPOUT = 0.15
LYRIC_DROPOUT = 0.15


def draw_timesteps(batch: int) -> Tensor:
    """Timesteps (batch,) in 0..1000: logit-normal indices into the once-shifted training table, by torch's draws."""
    return timesteps_from_normal(torch.randn(batch))


def timesteps_from_normal(normal: Tensor) -> Tensor:
    """The timesteps (batch,) of standard normal draws (batch,)."""
    table = torch.from_numpy(training_sigmas()) * TRAINING_STEPS
    index = (normal.sigmoid() * TRAINING_STEPS).long().clamp(0, TRAINING_STEPS - 1)
    return table[index]


def add_noise(data: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """Noisy latents (B, 8, 16, T) at noise levels `sigmas` (B,)."""
    sigma = sigmas.view(-1, 1, 1, 1)
    return sigma * noise + (1 - sigma) * data


def data_estimate(x: Tensor, velocity: Tensor, sigmas: Tensor) -> Tensor:
    """The estimate of the data (B, 8, 16, T) from noisy latents `x` and their velocity."""
    return x - sigmas.view(-1, 1, 1, 1) * velocity


def flow_loss(estimate: Tensor, data: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of the data estimate (B, 8, 16, T). It is sigma^2 times that of the velocity.

    As upstream, each row's mean divides by all frames, masked ones too, and is multiplied by the row's share of real
    frames. So padding is discounted twice. With a `mask` (B, T) of ones the result is the plain mean.
    """
    squares = ((estimate - data) * mask[:, None, None, :]) ** 2
    return (squares.mean(dim=(1, 2, 3)) * mask.mean(dim=1)).mean()


@dataclass(frozen=True)
class Loss:
    """The terms of one step.

    Attributes:
        denoising: the flow-matching loss.
        alignment: the distance to each teacher.
        total: the minimised sum.
    """

    denoising: Tensor
    alignment: Mapping[str, Tensor]
    total: Tensor


def combine(
    denoising: Tensor,
    alignment: Mapping[str, Tensor],
    coefficient: float = 1.0,
    weights: Mapping[str, float] | None = None,
) -> Loss:
    """The flow-matching loss plus `coefficient` times the mean over teachers of their weighted distances.

    `weights` by teacher default to 1. The last steps of the published training weighted "m-hubert" by 0.01.
    """
    total = denoising
    if alignment:
        weighted = [(weights or {}).get(name, 1.0) * distance for name, distance in alignment.items()]
        total = denoising + coefficient * torch.stack(weighted).mean()
    return Loss(denoising, alignment, total)
