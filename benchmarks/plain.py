"""Straightforward implementations of the same networks, which `song.py` measures against.

They recompute conditions and cross-attention keys and values at every step, run guidance branches one after the other,
keep convolutions over (B, C, n), and recompute weight norm at every call. The package does not use them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.feed_forward import FeedForward
from acestep_flows.model.transformer import Transformer
from acestep_flows.sampling.branches import Branches
from acestep_flows.sampling.denoiser import Denoiser, DenoiserRow, QueryRow, encode_conditions, predict_velocities

Tensors = Mapping[str, Tensor]


class PlainFeedForward(FeedForward):
    """The feed-forward network as three one-dimensional convolutions."""

    def forward(self, x: Tensor, padding: Any = None) -> Tensor:
        y = F.silu(self.inverted_conv.conv(x.mT))
        value, gate = self.depth_conv.conv(y).chunk(2, dim=1)
        out: Tensor = self.point_conv.conv(value * F.silu(gate)).mT
        return out


def plain_transformer(transformer: Transformer) -> Transformer:
    """A transformer with the same weights and plain convolutions."""
    plain = Transformer(transformer.config)
    plain.load_state_dict(transformer.state_dict(), assign=True)
    for block in plain.transformer_blocks:
        block.ff.__class__ = PlainFeedForward
    return plain.requires_grad_(False).eval()


@dataclass(eq=False)
class PlainDenoiser(Denoiser):
    """Predicts each row by itself and encodes its conditions anew."""

    transformer: Transformer
    projector: ConditionProjector
    branches: Callable[[], Branches]

    def predict(self, rows: Sequence[QueryRow]) -> list[Tensor]:
        velocities = []
        for row in rows:
            name = row.query.branch
            branch = {name: self.branches()[name]}
            memory = encode_conditions(self.transformer, self.projector, branch)[name]
            velocities += predict_velocities(self.transformer, [DenoiserRow(row.query, memory)])
        return velocities


class PlainVocoder:
    """The vocoder as a chain of one-dimensional convolutions with weight norm."""

    def __init__(self, config: Mapping[str, Any], tensors: Tensors) -> None:
        self.config, self.tensors = config, tensors

    @torch.inference_mode()
    def __call__(self, log_mel: Tensor) -> Tensor:
        """Log-mel (B, 128, F) to waveform (B, 512 F)."""
        return self._head(self._backbone(log_mel))

    def _backbone(self, x: Tensor) -> Tensor:
        get = self.tensors.__getitem__
        layers = "backbone.channel_layers"
        x = F.conv1d(F.pad(x, (3, 3), mode="replicate"), get(f"{layers}.0.0.weight"), get(f"{layers}.0.0.bias"))
        x = self._norm(x, f"{layers}.0.1")
        for stage, depth in enumerate(self.config["depths"]):
            if stage:
                x = self._norm(x, f"{layers}.{stage}.0")
                x = F.conv1d(x, get(f"{layers}.{stage}.1.weight"), get(f"{layers}.{stage}.1.bias"))
            for index in range(depth):
                name = f"backbone.stages.{stage}.{index}"
                y = F.conv1d(x, get(f"{name}.dwconv.weight"), get(f"{name}.dwconv.bias"), padding=3, groups=x.shape[1])
                y = self._norm(y, f"{name}.norm").mT
                y = F.gelu(F.linear(y, get(f"{name}.pwconv1.weight"), get(f"{name}.pwconv1.bias")))
                y = F.linear(y, get(f"{name}.pwconv2.weight"), get(f"{name}.pwconv2.bias"))
                x = x + (get(f"{name}.gamma") * y).mT
        return self._norm(x, "backbone.norm")

    def _head(self, x: Tensor) -> Tensor:
        x = self._conv(x, "head.conv_pre")
        kernels = len(self.config["resblock_kernel_sizes"])
        for level, (rate, size) in enumerate(
            zip(self.config["upsample_rates"], self.config["upsample_kernel_sizes"], strict=True)
        ):
            name = f"head.ups.{level}"
            bias = self.tensors[f"{name}.bias"]
            x = F.conv_transpose1d(F.silu(x), self._weight(name), bias, stride=rate, padding=(size - rate) // 2)
            blocks = [
                self._block(x, level * kernels + k, self.config["resblock_dilation_sizes"][k]) for k in range(kernels)
            ]
            x = torch.stack(blocks).mean(0)
        return self._conv(F.silu(x), "head.conv_post").tanh()[:, 0]

    def _block(self, x: Tensor, block: int, dilations: Sequence[int]) -> Tensor:
        for index, dilation in enumerate(dilations):
            y = self._conv(F.silu(x), f"head.resblocks.{block}.convs1.{index}", dilation)
            x = x + self._conv(F.silu(y), f"head.resblocks.{block}.convs2.{index}")
        return x

    def _conv(self, x: Tensor, name: str, dilation: int = 1) -> Tensor:
        weight = self._weight(name)
        padding = dilation * (weight.shape[2] // 2)
        return F.conv1d(x, weight, self.tensors[f"{name}.bias"], padding=padding, dilation=dilation)

    def _weight(self, name: str) -> Tensor:
        direction, length = self.tensors[f"{name}.weight_v"], self.tensors[f"{name}.weight_g"]
        return direction * (length / direction.norm(dim=(1, 2), keepdim=True))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.layer_norm(x.mT, weight.shape, weight, bias, 1e-6).mT
