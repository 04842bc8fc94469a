"""The two halves of a deep compression autoencoder (DC-AE, Chen et al. 2024; spec 04 section 6).

They equal diffusers' `AutoencoderDC`, parameter names included, without the second that importing that class takes.
Strided convolutions go down, interpolation goes up; both have shortcuts without parameters, which move pixels into
channels or back. The innermost blocks have linear attention at two scales (EfficientViT, Cai et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acestep_flows.model.layout import Config
from acestep_flows.model.product_precision import fast_products

EPS = 1e-5
SMALLEST_SUM = 1e-15
WIDENING = 4
"""Of the convolutions behind attention."""


class ChannelNorm(nn.Module):
    """Divides by the root mean square over channels (B, C, H, W), with a weight and a bias for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)
        x = (x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + EPS)).to(self.weight.dtype)
        return (x * self.weight + self.bias).movedim(-1, 1)


def fold_channels(x: Tensor, channels: int) -> Tensor:
    """Means of groups of neighbouring channels, so that `channels` are left."""
    means: Tensor = x.unflatten(1, (channels, -1)).mean(dim=2)
    return means


def repeat_channels(x: Tensor, channels: int) -> Tensor:
    """Each channel several times, so that there are `channels`."""
    return x.repeat_interleave(channels // x.shape[1], dim=1)


class Down(nn.Module):
    """Halves height and width."""

    def __init__(self, channels: int, outputs: int, *, shortcut: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, 3, stride=2, padding=1)
        self._shortcut, self._outputs = shortcut, outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y + fold_channels(F.pixel_unshuffle(x, 2), self._outputs) if self._shortcut else y


class Up(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int, outputs: int, *, shortcut: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, 3, padding=1)
        self._shortcut, self._outputs = shortcut, outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y + F.pixel_shuffle(repeat_channels(x, 4 * self._outputs), 2) if self._shortcut else y


class ResidualConvolution(nn.Module):
    """Two convolutions and a norm, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.norm(self.conv2(F.silu(self.conv1(x)))) + x
        return output


class Neighbourhood(nn.Module):
    """Queries, keys and values of a wider place: convolved over `size` x `size` pixels, then mixed within heads."""

    def __init__(self, channels: int, size: int, heads: int) -> None:
        super().__init__()
        self.proj_in = nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels, bias=False)
        self.proj_out = nn.Conv2d(channels, channels, 1, groups=heads, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.proj_out(self.proj_in(x))
        return output


class PixelAttention(nn.Module):
    """Attention with ReLU in place of softmax, at the scale of pixels and of neighbourhoods, added to the input."""

    def __init__(self, channels: int, head_width: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self._head_width = head_width
        heads = 3 * (channels // head_width)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.to_qkv_multiscale = nn.ModuleList(Neighbourhood(3 * channels, size, heads) for size in sizes)
        self.to_out = nn.Linear(channels * (1 + len(sizes)), channels, bias=False)
        self.norm_out = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.movedim(1, -1)
        one = torch.cat([self.to_q(pixels), self.to_k(pixels), self.to_v(pixels)], dim=3).movedim(-1, 1)
        scales = torch.cat([one, *(scale(one) for scale in self.to_qkv_multiscale)], dim=1)
        heads = scales.reshape(x.shape[0], -1, 3 * self._head_width, x.shape[2] * x.shape[3])
        query, key, value = heads.chunk(3, dim=2)
        mix = self._linear if x.shape[2] * x.shape[3] > self._head_width else self._quadratic
        mixed = mix(F.relu(query), F.relu(key), value).to(heads.dtype)
        y = mixed.reshape(x.shape[0], -1, *x.shape[2:])
        output: Tensor = self.norm_out(self.to_out(y.movedim(1, -1)).movedim(-1, 1)) + x
        return output

    def _linear(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Through a matrix of head width: for many pixels. The last row of the values sums the weights."""
        summed = F.pad(value, (0, 0, 0, 1), value=1).float()
        with fast_products(query.device, value.dtype):
            mixed = (summed @ key.float().transpose(-1, -2)) @ query.float()
        return mixed[:, :, :-1] / (mixed[:, :, -1:] + SMALLEST_SUM)

    def _quadratic(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Through a weight for each pair of pixels: for few of them."""
        weights = (key.transpose(-1, -2) @ query).float()
        return value @ (weights / (weights.sum(dim=2, keepdim=True) + SMALLEST_SUM)).to(value.dtype)


class GatedConvolution(nn.Module):
    """Wider channels, a depthwise convolution, a gate and back, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * WIDENING * channels
        self.conv_inverted = nn.Conv2d(channels, wide, 1)
        self.conv_depth = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv_point = nn.Conv2d(wide // 2, channels, 1, bias=False)
        self.norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        values, gates = self.conv_depth(F.silu(self.conv_inverted(x))).chunk(2, dim=1)
        output: Tensor = self.norm(self.conv_point(values * F.silu(gates))) + x
        return output


class AttentionBlock(nn.Module):
    """Attention over all pixels, and a convolution between neighbours."""

    def __init__(self, channels: int, head_width: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.attn = PixelAttention(channels, head_width, sizes)
        self.conv_out = GatedConvolution(channels)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.conv_out(self.attn(x))
        return output


def _blocks(config: Config, half: Literal["encoder", "decoder"], level: int) -> list[nn.Module]:
    channels = config[f"{half}_block_out_channels"][level]
    count = config[f"{half}_layers_per_block"][level]
    if config[f"{half}_block_types"][level] == "ResBlock":
        return [ResidualConvolution(channels) for _ in range(count)]
    sizes = config[f"{half}_qkv_multiscales"][level]
    return [AttentionBlock(channels, config["attention_head_dim"], sizes) for _ in range(count)]


class DcaeEncoder(nn.Module):
    """(B, 2, 128, F) to (B, 8, 16, F / 8)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, counts = config["encoder_block_out_channels"], config["encoder_layers_per_block"]
        inputs, self._latents = config["in_channels"], config["latent_channels"]
        whole = counts[0] > 0
        self.conv_in: nn.Module = (
            nn.Conv2d(inputs, widths[0], 3, padding=1) if whole else Down(inputs, widths[1], shortcut=False)
        )
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            blocks = _blocks(config, "encoder", level)
            if level < len(widths) - 1 and counts[level] > 0:
                blocks.append(Down(width, widths[level + 1]))
            self.down_blocks.append(nn.Sequential(*blocks))
        self.conv_out = nn.Conv2d(widths[-1], self._latents, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for blocks in self.down_blocks:
            x = blocks(x)
        output: Tensor = self.conv_out(x) + fold_channels(x, self._latents)
        return output


class DcaeDecoder(nn.Module):
    """(B, 8, 16, T) to (B, 2, 128, 8 T)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        widths, counts = config["decoder_block_out_channels"], config["decoder_layers_per_block"]
        outputs, self._inner = config["in_channels"], widths[-1]
        self.conv_in = nn.Conv2d(config["latent_channels"], widths[-1], 3, padding=1)
        self.up_blocks = nn.ModuleList()
        for level, width in enumerate(widths):
            up = level < len(widths) - 1 and counts[level] > 0
            blocks = _blocks(config, "decoder", level)
            self.up_blocks.append(nn.Sequential(*([Up(widths[level + 1], width)] if up else []), *blocks))
        width = widths[0] if counts[0] > 0 else widths[1]
        self.norm_out = ChannelNorm(width)
        self.conv_out: nn.Module = (
            nn.Conv2d(width, outputs, 3, padding=1) if counts[0] > 0 else Up(width, outputs, shortcut=False)
        )

    def forward(self, z: Tensor) -> Tensor:
        x = self.conv_in(z) + repeat_channels(z, self._inner)
        for blocks in reversed(self.up_blocks):
            x = blocks(x)
        output: Tensor = self.conv_out(F.relu(self.norm_out(x)))
        return output
