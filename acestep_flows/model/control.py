"""The control input: another track's latents, blended into the tokens before the first block (spec 01 section 5.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from acestep_flows.model.padding import Padding, real_rows


def blend(x: Tensor, control: Tensor, scale: float | Tensor, padding: Padding | None = None) -> Tensor:
    """x + scale * control, after giving the control the mean and deviation that x has.

    Mean and deviation are joint over time and channels of one row. A control that does not vary carries nothing, so
    it changes nothing (the formula alone would add the mean of x).

    Args:
        x: tokens (B, T, D).
        control: (B, T, D).
        scale: one strength for all rows or (B,).
    """
    control = control.to(x.dtype)
    x_std, x_mean = _moments(x, padding)
    std, mean = _moments(control, padding)
    normed = (control - mean) * (x_std / (std + 1e-12)) + x_mean
    strength = torch.as_tensor(scale, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
    return x + strength * torch.where(std > 0, normed, 0.0)


def _moments(x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean of each row, (B, 1, 1)."""
    moments = [torch.std_mean(row, dim=(1, 2), keepdim=True) for row in real_rows(x, padding)]
    std, mean = (torch.cat(moment) for moment in zip(*moments, strict=True))
    return std, mean
