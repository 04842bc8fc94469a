"""The transformer's configuration, as published in `ace_step_transformer/config.json` (spec 01 section 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from acestep_flows.errors import CheckpointError
from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT
from acestep_flows.wording.faults import data_faults

WHERE = "ace_step_transformer/config.json"

Size = Annotated[int, Field(gt=0)]
Blocks = tuple[Annotated[int, Field(ge=0)], int]
"""First and last block, both included."""


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the transformer and of the lyric encoder in the same weights file.

    The constructor defaults that were published are not those of the published model, so every key that the file
    always has is required. The file lacks the `lyric_encoder_*` sizes and the ERG ranges; they default to the
    published model's.

    Attributes:
        erg_blocks: first and last block whose cross-attention queries ERG scales (spec 02 section 3.1).
        lyric_encoder_erg_blocks: first and last layer of the lyric encoder whose queries ERG scales.
    """

    num_layers: Size
    num_attention_heads: Size
    attention_head_dim: Size
    mlp_ratio: Annotated[float, Field(gt=0)]
    rope_theta: Annotated[float, Field(gt=0)]
    speaker_embedding_dim: Size
    text_embedding_dim: Size
    lyric_encoder_vocab_size: Size
    lyric_hidden_size: Size
    ssl_names: tuple[str, ...]
    ssl_encoder_depths: tuple[int, ...]
    ssl_latent_dims: tuple[Size, ...]
    in_channels: int = LATENT_CHANNELS
    out_channels: int = LATENT_CHANNELS
    patch_size: tuple[int, ...] = (LATENT_HEIGHT, 1)
    lyric_encoder_attention_heads: Size = 16
    lyric_encoder_linear_units: Size = 4096
    lyric_encoder_num_blocks: Size = 6
    erg_blocks: Blocks = (15, 19)
    lyric_encoder_erg_blocks: Blocks = (4, 5)

    def __post_init__(self) -> None:
        rules = {
            "8 -> 8 channels": self.in_channels == self.out_channels == LATENT_CHANNELS,
            "patch_size [16, 1]": self.patch_size == (LATENT_HEIGHT, 1),
            "an even attention_head_dim": self.attention_head_dim % 2 == 0,
            "lyric_hidden_size a multiple of its heads": self.lyric_hidden_size % self.lyric_encoder_attention_heads
            == 0,
            "as many ssl_names as depths and dims": len(self.ssl_names)
            == len(self.ssl_encoder_depths)
            == len(self.ssl_latent_dims),
        }
        for rule, holds in rules.items():
            if not holds:
                raise CheckpointError("sizes that do not fit together", where=WHERE, allowed=rule)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TransformerConfig:
        """Read the parsed `config.json`; unknown keys are ignored.

        Raises:
            CheckpointError: a key is missing or its value is not allowed.
        """
        try:
            return TypeAdapter(cls).validate_python(dict(content))
        except ValidationError as error:
            first = data_faults(error)[0]
            raise CheckpointError(f"{first.where}: {first.what}", where=WHERE, allowed=first.allowed) from None

    @property
    def width(self) -> int:
        """Inner width D. The file's `inner_dim` is ignored, as upstream ignores it."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def feed_forward_width(self) -> int:
        """Hidden width of the gated feed-forward, per half."""
        return math.trunc(self.width * self.mlp_ratio)
