"""The transformer's two attentions: linear over the song's own frames, softmax over the condition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.padding import Padding
from acestep_flows.model.rope import Rotation, rotate

FP16_MAX = 65504.0


class SelfAttention(nn.Module):
    """Linear attention with a ReLU feature map (spec 01 section 5.3): no softmax, no 1/sqrt(d), core in fp32."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        width = heads * head_dim
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, by: Rotation, padding: Padding | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        q, k, v = (to(x).unflatten(-1, (self.heads, -1)) for to in (self.to_q, self.to_k, self.to_v))
        q, k, v = rotate(q, by).relu(), rotate(k, by).relu(), v.float()
        if padding is not None:
            k = k * padding.mask.unsqueeze(-1)  # a key of zeros adds nothing to either sum
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))  # (B, H, T, d)
        numerator = q @ (k.mT @ v)
        denominator = q @ k.sum(dim=-2).unsqueeze(-1)
        y = (numerator / (denominator + 1e-15)).transpose(1, 2).flatten(2).to(x.dtype)
        if padding is not None:
            y = y * padding.mask
        out: Tensor = self.to_out[0](y)
        return out.clamp(-FP16_MAX, FP16_MAX)


class CrossAttention(nn.Module):
    """Softmax attention from frames to condition tokens; keys and values are remembered for a whole song."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        width = heads * head_dim
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def remember(self, condition: Tensor, by: Rotation) -> tuple[Tensor, Tensor]:
        """Keys and values, each (H, S, d), of the condition tokens (S, D) that are not masked."""
        k = rotate(self.to_k(condition).unflatten(-1, (self.heads, -1)), by).to(condition.dtype)
        v = self.to_v(condition).unflatten(-1, (self.heads, -1))
        return k.transpose(0, 1).contiguous(), v.transpose(0, 1).contiguous()

    def forward(
        self,
        x: Tensor,
        by: Rotation,
        remembered: Sequence[tuple[Tensor, Tensor]],
        weaken: Sequence[float],
        padding: Padding | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D); row b attends to its own `remembered[b]`, with queries times `weaken[b]`.

        One call per row: rows have conditions of unequal length, and this needs neither padding nor copies.
        """
        q = rotate(self.to_q(x).unflatten(-1, (self.heads, -1)), by).to(x.dtype).transpose(1, 2)  # (B, H, T, d)
        rows = [
            F.scaled_dot_product_attention(q_row, k[None], v[None], scale=factor * self.head_dim**-0.5)
            for q_row, (k, v), factor in zip(q.split(1), remembered, weaken, strict=True)
        ]
        y = torch.cat(rows).transpose(1, 2).flatten(2)
        if padding is not None:
            y = y * padding.mask
        out: Tensor = self.to_out[0](y)
        return out
