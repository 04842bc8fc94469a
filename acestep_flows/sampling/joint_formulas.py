"""The formulas of guidance and solvers over songs at once; those of single songs are in `guidance.py` and `solver.py`.

Weights and scales come as tensors, so no formula asks which song it is for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acestep_flows.model.product_precision import full_products
from acestep_flows.sampling.guidance import CHANNEL, SONG, THRESHOLD

SMALLEST = 1e-24
"""Square of the least norm of a direction."""


def weighted_sums(weights: Tensor, registers: Tensor) -> Tensor:
    """Sums (S, O, N) of registers (S, I, N) by weights (S, O, I).

    The products are full fp32 whatever is allowed elsewhere: what has weight 1 and is all there is stays as it is.
    """
    with full_products(registers.device):
        return torch.bmm(weights, registers)


def guided(pairs: Tensor, on_base: Tensor, push: Tensor, fit: Tensor | None) -> Tensor:
    """Velocities (B, 8, 16, T): base plus difference, each times a factor for its channel.

    APG pushes by the difference, at most `THRESHOLD` long, less its part along the base: `push` is guidance scale
    less 1, times `THRESHOLD`. cfg_star pushes by the multiple of the null that fits the base best: `on_base` is the
    scale and `fit` is 1 less the scale. A sum is its base. What a song does not use is 0, and `on_base` is else 1.

    Args:
        pairs: (B, 2, 8, 16, T), base and difference; for cfg_star conditional and null.
        on_base, push, fit: (B, 1, 1, 1); `fit` is None where no song uses it.
    """
    products = (pairs.unsqueeze(1) * pairs.unsqueeze(2)).sum(CHANNEL, keepdim=True, dtype=_exact(pairs.device)).float()
    of_base, along, _, of_difference = products.flatten(1, 2).unbind(1)  # (B, 8, 1, 1)
    on_difference = push * of_difference.clamp(min=THRESHOLD**2).rsqrt()
    on_base = torch.addcmul(on_base, on_difference, along / of_base.clamp(min=SMALLEST), value=-1)
    if fit is not None:
        multiple = along.sum(SONG, keepdim=True) / (of_difference.sum(SONG, keepdim=True) + 1e-8)
        on_difference = torch.addcmul(on_difference, fit, multiple)
    base, difference = pairs.unbind(1)
    return torch.addcmul(base * on_base, difference, on_difference)


def shifted(velocity: Tensor, granularity: Tensor, share: Tensor) -> Tensor:
    """Velocities (S, G, 8, 16, T) with the distance from their mean scaled; padded frames get the mean.

    Args:
        granularity: (S, 1, 1, 1, 1), the factor.
        share: (S, 1, 1, 1, 1), (1 - granularity) / numbers in a song.
    """
    return torch.addcmul(velocity * granularity, velocity.sum(SONG, keepdim=True), share)


def _exact(device: torch.device) -> torch.dtype:
    """The dtype of long sums: fp64 where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64
