"""The transformer's two attentions: linear self-attention over frames, softmax cross-attention to the condition.

B rows (songs), T frames, S condition tokens, H heads, d channels of a head, D = H d.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from acestep_flows.model.frame_mixing import frame_mixing
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

    def forward(self, x: Tensor, rotation: Rotation, padding: Padding | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        q, k, v = (project(x).unflatten(-1, (self.heads, -1)) for project in (self.to_q, self.to_k, self.to_v))
        out: Tensor = self.to_out[0](frame_mixing(x.device).self_attention(q, k, v, rotation, padding))
        return out.clamp_(-FP16_MAX, FP16_MAX)


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
        keys_values: Any,
        erg_temperature: Any,
        padding: Padding | None = None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D); row b attends to `keys_values[b]`, with its queries times `erg_temperature[b]`.

        Args:
            keys_values: of each row, as `keys_and_values` gives them, or what the device's `FrameMixing` made of them.
            erg_temperature: a number for each row, or what `FrameMixing` made of them.
        """
        q = self.to_q(x).unflatten(-1, (self.heads, -1))
        mixing = frame_mixing(x.device)
        out: Tensor = self.to_out[0](mixing.cross_attention(q, rotation, keys_values, erg_temperature, padding))
        return out
