"""What training minimises: flow matching on the data estimate, and alignment with audio teachers (spec 05 section 2).

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
    """Timesteps (batch,) in 0..1000: logit-normal places in the once-shifted training table, by torch's generator."""
    return timesteps_from_normal(torch.randn(batch))


def timesteps_from_normal(normal: Tensor) -> Tensor:
    """The timesteps that standard normal draws (batch,) stand for."""
    table = torch.from_numpy(training_sigmas()) * TRAINING_STEPS
    index = (normal.sigmoid() * TRAINING_STEPS).long().clamp(0, TRAINING_STEPS - 1)
    return table[index]


def add_noise(data: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """x (B, 8, 16, T) at noise levels `sigmas` (B,)."""
    sigma = sigmas.view(-1, 1, 1, 1)
    return sigma * noise + (1 - sigma) * data


def data_estimate(x: Tensor, velocity: Tensor, sigmas: Tensor) -> Tensor:
    """The song that `velocity` points to from x (B, 8, 16, T)."""
    return x - sigmas.view(-1, 1, 1, 1) * velocity


def flow_loss(estimate: Tensor, data: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error of the data estimate (B, 8, 16, T), which is sigma^2 times that of the velocity.

    As upstream, each row's mean counts its masked frames in the divisor and is multiplied by the row's share of real
    frames, so padding is discounted twice. With a `mask` (B, T) of ones it is the plain mean.
    """
    squares = ((estimate - data) * mask[:, None, None, :]) ** 2
    return (squares.mean(dim=(1, 2, 3)) * mask.mean(dim=1)).mean()


@dataclass(frozen=True)
class Loss:
    """The terms of one step.

    Attributes:
        denoising: flow matching.
        alignment: distance to each teacher that was heard.
        total: what is minimised.
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
    """Flow matching plus `coefficient` times the mean over teachers of their weighted distance.

    `weights` by teacher default to 1; the published model's last steps weighted "m-hubert" by 0.01.
    """
    total = denoising
    if alignment:
        weighted = [(weights or {}).get(name, 1.0) * distance for name, distance in alignment.items()]
        total = denoising + coefficient * torch.stack(weighted).mean()
    return Loss(denoising, alignment, total)
