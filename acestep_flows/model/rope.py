"""Rotary position embedding as the published weights were trained with it (spec 01 section 5.4).

The table holds its frequencies as two equal halves, but the rotation pairs *adjacent* channels. The two members of a
pair therefore turn by different angles: the rotation is not orthogonal and not relative. It is reproduced literally.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """Factors for positions 0..L-1, each (L, 1, d) in fp32; the sine of even channels carries the minus sign."""

    cos: Tensor
    sin: Tensor

    def first(self, length: int) -> Rotation:
        """The rotation of positions 0..length-1."""
        return Rotation(self.cos[:length], self.sin[:length])

    def rows(self, keep: Tensor) -> Rotation:
        """The rotation of the positions where `keep` (L,), a boolean mask, is true."""
        return Rotation(self.cos[keep], self.sin[keep])


@lru_cache(maxsize=32)
def rotation(length: int, head_dim: int, theta: float, device: torch.device) -> Rotation:
    """The factors for positions 0..length-1, cached per length.

    Args:
        head_dim: channels d of one attention head.
        theta: base of the geometric frequencies.
    """
    with torch.inference_mode(False):  # cached tensors must also serve training
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim
        angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), theta**-exponents)
        angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
        sign = torch.tensor([-1.0, 1.0], device=device).repeat(head_dim // 2)
        return Rotation(angles.cos(), angles.sin() * sign)


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Rotate x (..., L, H, d). The computation and the result are fp32."""
    x = x.float()
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    swapped = torch.stack((odd, even), dim=-1).flatten(-2)
    return torch.addcmul(x * rotation.cos, swapped, rotation.sin)
