"""The networks that `gpu.py` measures: random weights of the published size, made on the device. Nothing is read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from acestep_flows.model.autoencoder import Autoencoder
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.layout import LAYOUTS, TRANSFORMER, class_name
from acestep_flows.model.placement import Dtype, Placement
from acestep_flows.model.transformer import Transformer
from acestep_flows.model.vocoder import Vocoder
from acestep_flows.testing.random_checkpoint import SMALL, Sizes, random_configs

PUBLISHED = Sizes(
    blocks=24,
    heads=20,
    head_dim=128,
    erg_blocks=(15, 19),
    lyric_width=1024,
    lyric_heads=16,
    lyric_blocks=6,
    lyric_erg_blocks=(4, 5),
    text_width=768,
    text_heads=12,
    text_blocks=12,
    text_erg_blocks=(8, 9),
    autoencoder_channels=(128, 256, 512, 1024),
    autoencoder_layers=3,
    autoencoder_head_dim=32,
    backbone_dims=(128, 256, 384, 512),
    backbone_depths=(3, 3, 9, 3),
    vocoder_channels=1024,
    upsampling=((4, 8), (4, 8), (2, 4), (2, 4), (2, 4), (2, 4), (2, 4)),
    teachers=(1024, 768),
)
TINY = SMALL
LYRIC_TOKENS = 6693
CONDITION_TOKENS = 384
"""Of a prompt and the lyrics of a song."""


class RandomWeights:
    """What loading the networks asks of a checkpoint: configs, and tensors that are drawn when they are asked for.

    Args:
        drawn_on: the device that draws; None: the one that the weights are for. Devices draw different numbers.
    """

    cache = None

    def __init__(self, sizes: Sizes, drawn_on: str | None = None) -> None:
        self._drawn_on = drawn_on
        self._configs = random_configs(sizes, LYRIC_TOKENS)

    def config(self, part: str) -> Mapping[str, Any]:
        return self._configs[part]

    def shapes(self, part: str) -> Mapping[str, tuple[int, ...]]:
        config = self.config(part)
        return LAYOUTS[class_name(config)](config)

    def load(
        self,
        part: str,
        names: Collection[str] | None = None,
        *,
        prefix: str = "",
        dtype: Dtype = "float32",
        device: str = "cpu",
    ) -> dict[str, Tensor]:
        shapes = self.shapes(part)
        chosen = [name for name in (shapes if names is None else names) if name.startswith(prefix)]
        generator = torch.Generator(self._drawn_on or device).manual_seed(0)
        return {name: _drawn(name, shapes[name], generator).to(device, getattr(torch, dtype)) for name in chosen}


def _drawn(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Well scaled, so that nothing overflows; the sound is noise."""
    device = generator.device
    if name.endswith(("weight_g", "norm.weight", "gamma")) or (len(shape) == 1 and name.endswith("weight")):
        return torch.ones(shape, device=device)
    if name.endswith("bias"):
        return torch.zeros(shape, device=device)
    return torch.randn(shape, generator=generator, device=device) / math.sqrt(max(1, math.prod(shape[1:])))


@dataclass
class Networks:
    """The networks on one placement."""

    placement: Placement
    transformer: Transformer
    autoencoder: Autoencoder
    vocoder: Vocoder

    @classmethod
    def load(cls, sizes: Sizes, placement: Placement, drawn_on: str | None = None) -> Networks:
        weights = cast("Checkpoint", RandomWeights(sizes, drawn_on))
        return cls(
            placement,
            Transformer.load(weights, placement),
            Autoencoder.load(weights, placement, ["decoder"]),
            Vocoder.load(weights, placement),
        )

    @property
    def device(self) -> torch.device:
        return torch.device(self.placement.device)

    def conditions(self, tokens: int = CONDITION_TOKENS) -> EncodedConditions:
        """Random conditions of one branch of a song."""
        return random_conditions(self.transformer, self.device, tokens)


def random_conditions(transformer: Transformer, device: torch.device, tokens: int) -> EncodedConditions:
    """Random keys and values of a condition."""
    config = transformer.config
    shape = (config.num_layers, 2, config.num_attention_heads, tokens, config.attention_head_dim)
    if device.type == "meta":
        return EncodedConditions(torch.empty(shape, dtype=transformer.dtype, device=device))
    return EncodedConditions(torch.randn(shape, device=device).to(transformer.dtype))


def on_meta(sizes: Sizes) -> Transformer:
    """The transformer with shapes and without content, in bfloat16."""
    with torch.device("meta"):
        from acestep_flows.model.config import TransformerConfig

        config = TransformerConfig.from_json(RandomWeights(sizes).config(TRANSFORMER))
        return Transformer(config).to(torch.bfloat16).requires_grad_(False)
