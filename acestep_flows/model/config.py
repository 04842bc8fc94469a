"""The transformer's configuration, as published in `ace_step_transformer/config.json` (spec 01 section 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from acestep_flows.errors import CheckpointError
from acestep_flows.values import LATENT_CHANNELS, LATENT_HEIGHT


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the transformer and of the lyric encoder inside its weights file.

    The published constructor defaults are not the published model, so what the file always has is required here.
    The `lyric_encoder_*` sizes and the ERG ranges are absent from it and default to what the published model uses.

    Attributes:
        weak_blocks: first and last block whose cross-attention queries ERG may weaken (spec 02 section 3.1).
        weak_lyric_layers: first and last layer of the lyric encoder whose queries ERG may weaken.
    """

    num_layers: int
    num_attention_heads: int
    attention_head_dim: int
    mlp_ratio: float
    rope_theta: float
    speaker_embedding_dim: int
    text_embedding_dim: int
    lyric_encoder_vocab_size: int
    lyric_hidden_size: int
    ssl_names: tuple[str, ...]
    ssl_encoder_depths: tuple[int, ...]
    ssl_latent_dims: tuple[int, ...]
    in_channels: int = LATENT_CHANNELS
    out_channels: int = LATENT_CHANNELS
    patch_size: tuple[int, ...] = (LATENT_HEIGHT, 1)
    lyric_encoder_attention_heads: int = 16
    lyric_encoder_linear_units: int = 4096
    lyric_encoder_num_blocks: int = 6
    weak_blocks: tuple[int, ...] = (15, 19)
    weak_lyric_layers: tuple[int, ...] = (4, 5)

    def __post_init__(self) -> None:
        if (self.in_channels, self.out_channels, self.patch_size) != (LATENT_CHANNELS, LATENT_CHANNELS, (16, 1)):
            raise CheckpointError(
                f"{self.in_channels} -> {self.out_channels} channels in patches of {list(self.patch_size)}",
                where="ace_step_transformer/config.json",
                allowed="8 -> 8 channels in patches of [16, 1]",
            )

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TransformerConfig:
        """Read the parsed `config.json`; unknown keys are ignored.

        Raises:
            CheckpointError: a key is missing or its value is of the wrong type.
        """
        given: dict[str, Any] = {}
        for field in fields(cls):
            if field.name in content:
                given[field.name] = _read(field.name, str(field.type), content[field.name])
            elif field.default is MISSING:
                raise CheckpointError(f"{field.name} is missing", where="ace_step_transformer/config.json")
        return cls(**given)

    @property
    def width(self) -> int:
        """Inner width D. The file's `inner_dim` is ignored, as upstream does."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def feed_forward_width(self) -> int:
        return math.trunc(self.width * self.mlp_ratio)


def _read(name: str, kind: str, found: Any) -> Any:
    """`found` as a field of type `kind`; lists become tuples."""
    item = kind.removeprefix("tuple[").removesuffix(", ...]")
    accepted = {"int": int, "float": (int, float), "str": str}[item]
    entries = found if kind.startswith("tuple") and isinstance(found, list) else [found]
    listed = isinstance(found, list) == kind.startswith("tuple")
    if not listed or not all(isinstance(entry, accepted) and not isinstance(entry, bool) for entry in entries):
        wanted = f"a list of {item}" if kind.startswith("tuple") else item
        raise CheckpointError(f"{name} is {found!r}", where="ace_step_transformer/config.json", allowed=wanted)
    return tuple(entries) if kind.startswith("tuple") else found
