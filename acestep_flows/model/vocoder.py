"""The vocoder: log-mel to a 44.1 kHz waveform, each channel separately (ADaMoS-HiFiGAN, spec 04 section 7).

A ConvNeXt backbone reads the mel. A HiFi-GAN head upsamples its frames to samples, level by level. All activations are
(B, n, C), channels innermost. Weight norm and layer scales are multiplied into the weights when they are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.copy_out import copied_out, own_stream
from acestep_flows.model.folding import FoldedConv, FoldedUpsample, fold_for
from acestep_flows.model.layout import VOCODER, Config, class_name
from acestep_flows.model.placement import Placement
from acestep_flows.model.spectral_vocoder import SpectralVocoder, load_spectral_vocoder
from acestep_flows.model.transfer import on_device
from acestep_flows.values import Compatibility, FloatArray

Tensors = Mapping[str, Tensor]
Samples = TypeVar("Samples", FloatArray, Tensor)

NORM_EPSILON = 1e-6
BLOCK_FRAMES = 512
"""Mel frames per block of the overlapped decode."""
OVERLAP = 1024
"""Samples at either edge of a block that are taken from its neighbour."""
ON_PROCESSORS = ("cpu",)
"""Kinds of device that decode one piece after the other."""
TOGETHER = 32
"""Channels of blocks that a GPU decodes in one pass: about 1 GB with the published sizes."""
BLEND = 128
"""Samples of the crossfade between two blocks."""


class ConvNextBlock(nn.Module):
    """A depthwise convolution and a two-layer perceptron over channels, inside a residual: (B, F, C) to (B, F, C)."""

    def __init__(self, tensors: Tensors, name: str) -> None:
        super().__init__()
        gamma = tensors[f"{name}.gamma"]
        self.depthwise = _parameter(tensors[f"{name}.dwconv.weight"][:, :, None])  # (C, 1, 1, k)
        self.depthwise_bias = _parameter(tensors[f"{name}.dwconv.bias"])
        self.norm = _norm(tensors, f"{name}.norm")
        self.expand = _linear(tensors[f"{name}.pwconv1.weight"], tensors[f"{name}.pwconv1.bias"])
        self.contract = _linear(
            gamma[:, None] * tensors[f"{name}.pwconv2.weight"], gamma * tensors[f"{name}.pwconv2.bias"]
        )

    def forward(self, x: Tensor) -> Tensor:
        width, kernel = len(self.depthwise), self.depthwise.shape[-1]
        image = x[:, None].permute(0, 3, 1, 2)
        y = F.conv2d(image, self.depthwise, self.depthwise_bias, padding=(0, kernel // 2), groups=width)
        y = self.norm(y.permute(0, 2, 3, 1)[:, 0])
        y = self.contract(F.gelu(self.expand(y)))
        return x.add(y)


class Backbone(nn.Module):
    """ConvNeXt over time: (B, F, bands) to (B, F, width)."""

    def __init__(self, config: Config, tensors: Tensors) -> None:
        super().__init__()
        layers = "backbone.channel_layers"
        self.stem = FoldedConv(tensors[f"{layers}.0.0.weight"], tensors[f"{layers}.0.0.bias"])
        self.stages = nn.ModuleList()
        for stage, depth in enumerate(config["depths"]):
            blocks = [ConvNextBlock(tensors, f"backbone.stages.{stage}.{index}") for index in range(depth)]
            if stage:
                widen = _linear(tensors[f"{layers}.{stage}.1.weight"][:, :, 0], tensors[f"{layers}.{stage}.1.bias"])
                entry = [_norm(tensors, f"{layers}.{stage}.0"), widen]
            else:
                entry = [_norm(tensors, f"{layers}.0.1")]
            self.stages.append(nn.Sequential(*entry, *blocks))
        self.norm = _norm(tensors, "backbone.norm")

    def forward(self, x: Tensor) -> Tensor:
        # Only the stem pads by repeating the edge. The zeros that its convolution adds fall on frames that are dropped.
        pad = self.stem.padding
        x = F.pad(x.transpose(1, 2), (pad, pad), mode="replicate").transpose(1, 2).contiguous()
        x = self.stem(x)[:, pad:-pad].contiguous()
        for stage in self.stages:
            x = stage(x)
        y: Tensor = self.norm(x)
        return y


class ResBlock(nn.Module):
    """Three residual pairs of a dilated and a plain convolution: (B, n, C) to (B, n, C)."""

    def __init__(self, tensors: Tensors, name: str, dilations: list[int], samples: int | None) -> None:
        super().__init__()
        self.dilated = nn.ModuleList(
            _conv(tensors, f"{name}.convs1.{index}", samples, dilation) for index, dilation in enumerate(dilations)
        )
        self.plain = nn.ModuleList(_conv(tensors, f"{name}.convs2.{index}", samples) for index in range(len(dilations)))

    def forward(self, x: Tensor, activated: Tensor) -> Tensor:
        """x (B, n, C) to the same shape; `activated` is silu(x), the common input of all blocks of a level."""
        for index, (dilated, plain) in enumerate(zip(self.dilated, self.plain, strict=True)):
            y = dilated(activated if index == 0 else F.silu(x))
            x = plain(F.silu(y, inplace=True)).add_(x)
        return x


class Level(nn.Module):
    """Upsamples, then averages several residual blocks of different kernel sizes: (B, n, C) to (B, n * rate, C / 2)."""

    def __init__(self, config: Config, tensors: Tensors, level: int, samples: int | None) -> None:
        super().__init__()
        rate = config["upsample_rates"][level]
        weight, bias = _fused(tensors, f"head.ups.{level}"), tensors[f"head.ups.{level}.bias"]
        self.up = FoldedUpsample(weight, bias, rate=rate, fold=_fold(len(weight), samples))
        dilations = config["resblock_dilation_sizes"]
        inside = None if samples is None else samples * rate
        self.blocks = nn.ModuleList(
            ResBlock(tensors, f"head.resblocks.{level * len(dilations) + branch}", steps, inside)
            for branch, steps in enumerate(dilations)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(F.silu(x))
        activated = F.silu(x)
        total = torch.zeros_like(x)
        for block in self.blocks:
            total += block(x, activated)
        return total / len(self.blocks)


class Head(nn.Module):
    """HiFi-GAN generator: (B, F, width) to (B, F * hop)."""

    def __init__(self, config: Config, tensors: Tensors, folded: bool) -> None:
        super().__init__()
        self.pre = _conv(tensors, "head.conv_pre", samples=1)
        self.levels = nn.ModuleList()
        samples = 1 if folded else None  # per mel frame
        for level, rate in enumerate(config["upsample_rates"]):
            self.levels.append(Level(config, tensors, level, samples))
            samples = None if samples is None else samples * rate
        self.post = _conv(tensors, "head.conv_post", samples)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pre(x)
        for level in self.levels:
            x = level(x)
        y: Tensor = self.post(F.silu(x))
        return y.float().tanh()[..., 0]


class Vocoder(nn.Module):
    """Decodes log-mels (B, bands, F) to waveforms (B, F * hop) in -1..1.

    Args:
        config: the part's `config.json`.
        tensors: the part's weights under their published names, fp32.
        folded: whether time is folded into channels: for processors (`folding.py`).

    Attributes:
        channels_independent: true, so channels of several songs may be decoded as one batch.
        device: where it decodes.
    """

    channels_independent = True
    device = torch.device("cpu")

    def __init__(self, config: Config, tensors: Tensors, folded: bool = True) -> None:
        super().__init__()
        self.hop: int = config["hop_length"]
        self.backbone = Backbone(config, tensors)
        self.head = Head(config, tensors, folded)

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement) -> Vocoder:
        """Read the vocoder. Weights are folded in fp32, then converted to the placement's dtype.

        Raises:
            CheckpointError: the weights file has changed since the checkpoint was opened.
        """
        names = [name for name in checkpoint.shapes(VOCODER) if not name.startswith("mel_transform.")]
        on_processor = placement.device.startswith("cpu")
        vocoder = cls(checkpoint.config(VOCODER), checkpoint.load(VOCODER, names), folded=on_processor)
        vocoder.device = torch.device(placement.device)
        return vocoder.eval().to(placement.device, getattr(torch, placement.dtype))

    def forward(self, log_mel: Tensor) -> Tensor:
        x = log_mel.transpose(1, 2).to(self.backbone.norm.weight.dtype).contiguous()
        y: Tensor = self.head(self.backbone(x))
        return y

    def decode(
        self, log_mel: FloatArray, *, overlap: bool = False, compatibility: Compatibility = "corrected"
    ) -> FloatArray:
        """Waveform (2, F * 512) at 44.1 kHz of a stereo `log_mel` (2, 128, F), each channel separately.

        Args:
            overlap: work in blocks of 512 frames with crossfades, so that memory stays bounded.
            compatibility: "upstream" pads the last block with zeros. A log-mel of zero is loud and smears into the
                last milliseconds. With "corrected" the last block ends with the song.
        """
        if not log_mel.shape[-1]:
            return np.zeros((len(log_mel), 0), np.float32)
        if self.device.type in ON_PROCESSORS:
            return self._decode_overlapped(log_mel, compatibility) if overlap else self._decode(log_mel)
        with torch.inference_mode(), own_stream(self.device):
            mel = on_device(torch.tensor(log_mel), self.device)
            waveform = self._decode_overlapped(mel, compatibility) if overlap else self(mel)
            samples: FloatArray = copied_out(waveform).numpy()
        return samples

    def parts(self, log_mel: FloatArray, *, overlap: bool = False) -> Iterator[FloatArray]:
        """What `decode` gives as consecutive parts (2, any), so that a processor need not hold the whole."""
        if overlap and log_mel.shape[-1] and self.device.type in ON_PROCESSORS:
            return self._parts(log_mel, "corrected")
        return iter([self.decode(log_mel, overlap=overlap)])

    @torch.inference_mode()
    def _decode(self, log_mel: FloatArray) -> FloatArray:
        waveform: FloatArray = self(torch.tensor(log_mel)).numpy()
        return waveform

    def _decode_overlapped(self, log_mel: Samples, compatibility: Compatibility) -> Samples:
        """Decode in overlapping blocks: on processors in arrays, on other devices in tensors that stay there."""
        shape = len(log_mel), log_mel.shape[-1] * self.hop
        new: Any = np.empty
        if isinstance(log_mel, Tensor):
            new = log_mel.new_empty
        waveform: Any = new(shape, dtype=log_mel.dtype)
        begin = 0
        for part in self._parts(log_mel, compatibility):
            end = min(begin + part.shape[-1], shape[-1])
            waveform[:, begin:end] = part[:, : end - begin]
            begin = end
        whole: Samples = waveform
        return whole

    def _parts(self, log_mel: Samples, compatibility: Compatibility) -> Iterator[Any]:
        """Consecutive parts of the waveform, from blocks that start every 508 frames.

        Edges of 1024 samples are the neighbour's (spec 04, 5.1). "upstream" gives what lies behind the end, too.
        """
        _, _, frames = log_mel.shape
        step = BLOCK_FRAMES - 2 * OVERLAP // self.hop
        if compatibility == "upstream":
            starts = range(0, frames, step)
            log_mel = _padded(log_mel, starts[-1] + BLOCK_FRAMES - frames)
        else:
            # A last block that is only overlap adds nothing: the block before it reaches the end.
            starts = range(0, max(frames - OVERLAP // self.hop, 1), step)
        rising: Any = np.linspace(0, 1, BLEND, dtype=np.float32)
        if isinstance(log_mel, Tensor):
            rising = on_device(torch.from_numpy(rising), log_mel.device)
        falling: Any = None
        for start, block in self._blocks(log_mel, starts):
            begin = OVERLAP if start else 0
            end = step * self.hop + OVERLAP
            if start:
                yield falling + rising * block[:, begin - BLEND : begin]
            if start == starts[-1]:
                yield block[:, begin:]
            else:
                yield block[:, begin : end - BLEND]
                falling = block[:, end - BLEND : end] * (1 - rising)

    def _blocks(self, log_mel: Samples, starts: range) -> Iterator[tuple[int, Any]]:
        """Waveforms of the blocks of a log-mel (C, bands, F), in order. Of tensors several are decoded at once."""
        if not isinstance(log_mel, Tensor):
            for start in starts:
                yield start, self._decode(log_mel[..., start : start + BLOCK_FRAMES])
            return
        most = max(1, TOGETHER // len(log_mel))
        for _, alike in groupby(starts, lambda start: min(BLOCK_FRAMES, log_mel.shape[-1] - start)):
            equally_long = list(alike)
            for first in range(0, len(equally_long), most):
                chosen = equally_long[first : first + most]
                blocks = self(torch.cat([log_mel[..., start : start + BLOCK_FRAMES] for start in chosen]))
                yield from zip(chosen, blocks.split(len(log_mel)), strict=True)


def load_vocoder(checkpoint: Checkpoint, placement: Placement) -> Vocoder | SpectralVocoder:
    """Read the vocoder whose class the checkpoint's config names."""
    spectral = class_name(checkpoint.config(VOCODER)) == "SpectralVocoder"
    return load_spectral_vocoder(checkpoint, placement) if spectral else Vocoder.load(checkpoint, placement)


def _padded(log_mel: Samples, frames: int) -> Samples:
    """`frames` of zeros behind a log-mel (C, bands, F)."""
    if isinstance(log_mel, Tensor):
        return F.pad(log_mel, (0, frames))
    return np.pad(log_mel, ((0, 0), (0, 0), (0, frames)))


def _parameter(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    outputs, inputs = weight.shape
    layer = nn.Linear(inputs, outputs, device="meta")
    layer.weight, layer.bias = _parameter(weight), _parameter(bias)
    return layer


def _norm(tensors: Tensors, name: str) -> nn.LayerNorm:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    layer = nn.LayerNorm(len(weight), eps=NORM_EPSILON, device="meta")
    layer.weight, layer.bias = _parameter(weight), _parameter(bias)
    return layer


def _fused(tensors: Tensors, name: str) -> Tensor:
    """The weight of a weight-normed layer: direction v times length g, per slice of the first dimension."""
    direction, length = tensors[f"{name}.weight_v"], tensors[f"{name}.weight_g"]
    weight: Tensor = direction * (length / direction.norm(dim=(1, 2), keepdim=True))
    return weight


def _fold(channels: int, samples: int | None) -> int:
    """How many samples are folded into one, of `samples` that may be; None: none are folded."""
    return 1 if samples is None else fold_for(channels, samples)


def _conv(tensors: Tensors, name: str, samples: int | None, dilation: int = 1) -> FoldedConv:
    weight = _fused(tensors, name)
    fold = _fold(min(weight.shape[:2]), samples)
    return FoldedConv(weight, tensors[f"{name}.bias"], dilation=dilation, fold=fold)
