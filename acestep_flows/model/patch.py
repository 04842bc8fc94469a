"""Latents (B, 8, 16, T) to tokens (B, T, D) and back: one token per latent frame (spec 01 sections 5.1 and 5.5)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.frame_mixing import frame_mixing
from acestep_flows.model.padding import Padding
from acestep_flows.model.weights import random_table
from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT

CHANNELS = 2048
GROUPS = 32
EPSILON = 1e-6


class PatchEmbedding(nn.Module):
    """A convolution over a whole frame, GroupNorm over the whole song, and a 1x1 convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        patch = (LATENT_HEIGHT, 1)
        self.early_conv_layers = nn.Sequential(
            nn.Conv2d(LATENT_CHANNELS, CHANNELS, patch, patch),
            nn.GroupNorm(GROUPS, CHANNELS, eps=EPSILON),
            nn.Conv2d(CHANNELS, width, 1),
        )

    def forward(self, latents: Tensor, padding: Padding | None = None) -> Tensor:
        """Latents (B, 8, 16, T) to tokens (B, T, D)."""
        embed, norm, project = cast("tuple[nn.Conv2d, nn.GroupNorm, nn.Conv2d]", tuple(self.early_conv_layers))
        patches = latents.flatten(1, 2).mT  # (B, T, 128): both convolutions map single frames linearly
        x = F.linear(patches, embed.weight.flatten(1), embed.bias)
        return F.linear(_group_norm(x, norm, padding), project.weight.flatten(1), project.bias)


def _group_norm(x: Tensor, norm: nn.GroupNorm, padding: Padding | None) -> Tensor:
    """GroupNorm of x (B, T, C): statistics per row and group over all (real) frames."""
    grouped = x.float().unflatten(-1, (GROUPS, -1))
    variance, mean = frame_mixing(x.device).group_moments(grouped, padding)
    scale = norm.weight.view(GROUPS, -1) * torch.rsqrt(variance + EPSILON)  # (B, 1, 32, 64)
    shift = norm.bias.view(GROUPS, -1) - mean * scale
    return torch.addcmul(shift, grouped, scale).flatten(-2).to(x.dtype)


class FinalLayer(nn.Module):
    """Modulated norm and projection of tokens to latents."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_shift_table = random_table(2, width)
        self.linear = nn.Linear(width, LATENT_HEIGHT * LATENT_CHANNELS)

    def forward(self, x: Tensor, embedded_timestep: Tensor) -> Tensor:
        """Tokens x (B, T, D) to velocities (B, 8, 16, T).

        Args:
            embedded_timestep: (B, D), the output of `TimestepEmbedding` itself, not the blocks' modulation.
        """
        shift, scale = (self.scale_shift_table + embedded_timestep.unsqueeze(1)).unsqueeze(2).unbind(1)
        y: Tensor = self.linear(modulate(x, shift, scale))
        velocity: Tensor = y.unflatten(-1, (LATENT_HEIGHT, LATENT_CHANNELS)).permute(0, 3, 2, 1)
        return velocity


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """RMS-normalise x (B, T, D) without weight, then multiply by 1 + scale and add shift, each (B, 1, D)."""
    return norm_and_move(x, shift, 1 + scale)


def norm_and_move(x: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """As `modulate`, with `factor` for 1 + scale."""
    return torch.addcmul(shift, F.rms_norm(x, x.shape[-1:], eps=EPSILON), factor)
