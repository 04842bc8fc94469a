"""The transformer's two attentions: linear self-attention over frames, softmax cross-attention to the condition.

B rows (songs), T frames, S condition tokens, H heads, d channels of a head, D = H d.
"""

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

    def forward(self, x: Tensor, rotation: Rotation, padding: Padding | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        q, k, v = (
            real_rows(project(x).unflatten(-1, (self.heads, -1)), padding)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        rows = [_linear_attention(*row, rotation) for row in zip(q, k, v, strict=True)]
        out: Tensor = self.to_out[0](stack_rows(rows, x.shape[1]).to(x.dtype))
        return out.clamp_(-FP16_MAX, FP16_MAX)


def _linear_attention(q: Tensor, k: Tensor, v: Tensor, rotation: Rotation) -> Tensor:
    """Attention of one song: q, k, v (T, H, d) to (T, D).

    One song at a time fits into the processor's cache, and padded frames are never read.
    """
    rotation = rotation.first(len(q))
    q, k = rotate(q, rotation).relu_().transpose(0, 1), rotate(k, rotation).relu_().transpose(0, 1)
    v = v.float().transpose(0, 1)  # (H, T, d), as q and k
    numerator = q @ (k.mT @ v)
    denominator = q @ k.sum(dim=-2).unsqueeze(-1)
    return (numerator / (denominator + 1e-15)).transpose(0, 1).flatten(1)


class CrossAttention(nn.Module):
    """Softmax attention from frames to condition tokens. Keys and values are computed once per song."""

    def __init__(self, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, head_dim
        width = heads * head_dim
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def keys_and_values(self, condition: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor]:
        """Keys and values, each (H, S, d), of the unmasked condition tokens (S, D)."""
        k = rotate(self.to_k(condition).unflatten(-1, (self.heads, -1)), rotation).to(condition.dtype)
        v = self.to_v(condition).unflatten(-1, (self.heads, -1))
        return k.transpose(0, 1).contiguous(), v.transpose(0, 1).contiguous()

    def forward(
        self,
        x: Tensor,
        rotation: Rotation,
        keys_values: Sequence[tuple[Tensor, Tensor]],
        erg_temperature: Sequence[float],
        padding: Padding | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D); row b attends to `keys_values[b]`, with its queries times `erg_temperature[b]`.

        Conditions differ in length, so each row is one call of the kernel: no padding and no copies are needed.
        """
        q = rotate(self.to_q(x).unflatten(-1, (self.heads, -1)), rotation).to(x.dtype)
        rows = [
            _attention(row, *pair, factor * self.head_dim**-0.5)
            for row, pair, factor in zip(real_rows(q, padding), keys_values, erg_temperature, strict=True)
        ]
        out: Tensor = self.to_out[0](stack_rows(rows, x.shape[1]))
        return out


def _attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attention of one song: queries (T, H, d), keys and values (H, S, d) to (T, D)."""
    y = F.scaled_dot_product_attention(q.transpose(0, 1).unsqueeze(0), k[None], v[None], scale=scale)
    return y[0].transpose(0, 1).flatten(1)
