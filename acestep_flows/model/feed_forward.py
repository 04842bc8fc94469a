"""The transformer's feed-forward: a gated unit with a depthwise convolution over time (spec 01 section 5.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.packed_linear import silu_of
from acestep_flows.model.padding import Padding


class Convolution(nn.Module):
    """Holds a `Conv1d` under the published name."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=bias)


class Pointwise(Convolution):
    """A 1x1 convolution: on (B, T, C) it is a linear map."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.conv.weight.squeeze(-1), self.conv.bias)


class Depthwise(Convolution):
    """A convolution of each channel along time with its own three taps, zero-padded at both ends."""

    def forward(self, x: Tensor) -> Tensor:
        # (B, T, C) is the channels-last layout of (B, C, 1, T), so this view copies nothing. The kernel for that
        # layout takes a tenth of Conv1d's time.
        y = F.conv2d(
            x.mT.unsqueeze(2), self.conv.weight.unsqueeze(2), self.conv.bias, padding=(0, 1), groups=x.shape[-1]
        )
        return y.squeeze(2).mT


class FeedForward(nn.Module):
    """Expands to 2h channels, convolves each along time, gates one half by the other, and projects back."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inverted_conv = Pointwise(width, 2 * hidden)
        self.depth_conv = Depthwise(2 * hidden, 2 * hidden, kernel=3, groups=2 * hidden)
        self.point_conv = Pointwise(hidden, width, bias=False)

    def forward(self, x: Tensor, padding: Padding | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        y = silu_of(self.inverted_conv, x)
        if padding is not None and padding.exact:
            y = y * padding.mask
        value, gate = self.depth_conv(y).chunk(2, dim=-1)
        out: Tensor = self.point_conv(F.silu(gate).mul_(value))
        return out
