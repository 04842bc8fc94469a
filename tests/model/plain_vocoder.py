"""A plain reference vocoder: library layers under the published names, channels first, weight norm not folded."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.layout import Config


class PlainVocoder(nn.Module):
    """Log-mel (B, bands, F) to waveform (B, F * hop); loads a part's tensors with `load_state_dict(strict=False)`."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.backbone, self.head = PlainBackbone(config), PlainHead(config)

    def forward(self, mel: Tensor) -> Tensor:
        waveform: Tensor = self.head(self.backbone(mel))
        return waveform


class PlainBackbone(nn.Module):
    """ConvNeXt over time: (B, bands, F) to (B, width, F)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dims = config["dims"]
        stem = nn.Conv1d(config["input_channels"], dims[0], 7, padding=3, padding_mode="replicate")
        self.channel_layers = nn.ModuleList([nn.Sequential(stem, ChannelNorm(dims[0], eps=1e-6))])
        for inputs, width in pairwise(dims):
            self.channel_layers.append(nn.Sequential(ChannelNorm(inputs, eps=1e-6), nn.Conv1d(inputs, width, 1)))
        self.stages = nn.ModuleList(
            nn.Sequential(*(PlainBlock(width) for _ in range(depth)))
            for width, depth in zip(dims, config["depths"], strict=True)
        )
        self.norm = ChannelNorm(dims[-1], eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        for widen, stage in zip(self.channel_layers, self.stages, strict=True):
            x = stage(widen(x))
        return self.norm(x)  # type: ignore[no-any-return]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, F)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class PlainBlock(nn.Module):
    """A ConvNeXt block with its layer scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.dwconv(x).transpose(1, 2))
        y = self.gamma * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x.add(y.transpose(1, 2))


class NormedConv(nn.Module):
    """A weight-normed convolution that computes its weight at every call."""

    def __init__(self, outputs: int, inputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(torch.randn(outputs, inputs, kernel) / (inputs * kernel) ** 0.5)
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=(1, 2), keepdim=True))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.dilation, self.padding = dilation, dilation * (kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, normed(self), self.bias, padding=self.padding, dilation=self.dilation)


class NormedUpsample(nn.Module):
    """A weight-normed transposed convolution of rate `rate`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rate: int) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(torch.randn(inputs, outputs, kernel) / (inputs * kernel / rate) ** 0.5)
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=(1, 2), keepdim=True))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.rate, self.trim = rate, (kernel - rate) // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose1d(x, normed(self), self.bias, self.rate, self.trim)


def normed(layer: NormedConv | NormedUpsample) -> Tensor:
    """The weight: direction `weight_v` times length `weight_g`."""
    weight: Tensor = layer.weight_v * (layer.weight_g / layer.weight_v.norm(dim=(1, 2), keepdim=True))
    return weight


class PlainHead(nn.Module):
    """HiFi-GAN generator: (B, width, F) to (B, F * hop)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config["upsample_initial_channel"]
        self.kernels = config["resblock_kernel_sizes"]
        self.conv_pre = NormedConv(width, config["num_mels"], 13)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, size in zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True):
            self.ups.append(NormedUpsample(width, width // 2, size, rate))
            width //= 2
            self.resblocks.extend(PlainResBlock(width, kernel) for kernel in self.kernels)
        self.conv_post = NormedConv(1, width, 13)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_pre(x)
        for level, up in enumerate(self.ups):
            x = up(F.silu(x))
            blocks = self.resblocks[level * len(self.kernels) : (level + 1) * len(self.kernels)]
            x = torch.stack([block(x) for block in blocks]).mean(0)
        y: Tensor = self.conv_post(F.silu(x))
        return y.tanh().squeeze(1)


class PlainResBlock(nn.Module):
    """Three residual pairs of a dilated and a plain convolution."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(NormedConv(width, width, kernel, dilation) for dilation in (1, 3, 5))
        self.convs2 = nn.ModuleList(NormedConv(width, width, kernel) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.silu(first(F.silu(x))))
        return x
