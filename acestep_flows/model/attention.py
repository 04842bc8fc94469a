"""The transformer's two attentions: linear over the song's own frames, softmax over the condition."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.padding import Padding, real_rows, stack_rows
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
        q, k, v = (
            real_rows(to(x).unflatten(-1, (self.heads, -1)), padding) for to in (self.to_q, self.to_k, self.to_v)
        )
        rows = [_linear_attention(*row, by) for row in zip(q, k, v, strict=True)]
        out: Tensor = self.to_out[0](stack_rows(rows, x.shape[1]).to(x.dtype))
        return out.clamp_(-FP16_MAX, FP16_MAX)


def _linear_attention(q: Tensor, k: Tensor, v: Tensor, by: Rotation) -> Tensor:
    """One song's q, k, v (T, H, d) to (T, D). Song by song it stays in the processor's cache, and pads stay out."""
    by = by.first(len(q))
    q, k = rotate(q, by).relu_().transpose(0, 1), rotate(k, by).relu_().transpose(0, 1)
    v = v.float().transpose(0, 1)  # (H, T, d), as q and k
    numerator = q @ (k.mT @ v)
    denominator = q @ k.sum(dim=-2).unsqueeze(-1)
    return (numerator / (denominator + 1e-15)).transpose(0, 1).flatten(1)


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
        erg_temperature: Sequence[float],
        padding: Padding | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D); row b attends to its own `remembered[b]`, with queries times `erg_temperature[b]`.

        One call per row: rows have conditions of unequal length, and this needs neither padding nor copies.
        """
        q = rotate(self.to_q(x).unflatten(-1, (self.heads, -1)), by).to(x.dtype)
        rows = [
            _attention(row, *pair, factor * self.head_dim**-0.5)
            for row, pair, factor in zip(real_rows(q, padding), remembered, erg_temperature, strict=True)
        ]
        out: Tensor = self.to_out[0](stack_rows(rows, x.shape[1]))
        return out


def _attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """One song's queries (T, H, d) over keys and values (H, S, d) to (T, D)."""
    y = F.scaled_dot_product_attention(q.transpose(0, 1).unsqueeze(0), k[None], v[None], scale=scale)
    return y[0].transpose(0, 1).flatten(1)
