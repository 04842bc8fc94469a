"""The denoiser: noisy latents, timestep and condition in, velocity out (spec 01 sections 4 and 5).

    tokens = proj_in(latents)                      one token per frame
    for block in transformer_blocks:
        x += gate * linear attention(modulated x)
        x += cross attention(x, condition)         keys and values computed once per song
        x += gate * feed-forward(modulated x)
    velocity = final_layer(x)

B songs of T frames, condition of S tokens, width D = H heads of d channels.

The published file also has projections that the network never uses (`add_*_proj`, `to_add_out`). They are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.attention import CrossAttention, SelfAttention
from acestep_flows.model.compiled_code import keep_compiled_code
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.control import blend
from acestep_flows.model.feed_forward import FeedForward
from acestep_flows.model.padding import Padding
from acestep_flows.model.patch import FinalLayer, PatchEmbedding, modulate
from acestep_flows.model.rope import Rotation, rotation
from acestep_flows.model.weights import PublishedPart, random_table

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement

FREQUENCIES = 256


@dataclass(frozen=True)
class EncodedConditions:
    """A condition as the blocks use it: cross-attention keys and values, (H, S, d) each, without masked tokens.

    `Transformer.encode_condition` makes one per song and guidance branch.

    Attributes:
        blocks: keys and values of each block.
    """

    blocks: tuple[tuple[Tensor, Tensor], ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(tensor.nbytes for pair in self.blocks for tensor in pair)


class TimestepEmbedding(nn.Module):
    """Embeds timesteps in 0..1000 (1000 sigma, not sigma) as vectors of width D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(FREQUENCIES, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, timesteps: Tensor) -> Tensor:
        """timesteps (B,) -> (B, D). The sinusoids are cosines, then sines."""
        half = FREQUENCIES // 2
        exponents = -math.log(10_000) * torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
        angles = timesteps.float().unsqueeze(-1) * exponents.exp()
        sinusoid = torch.cat((angles.cos(), angles.sin()), dim=-1)
        embedding: Tensor = self.linear_2(F.silu(self.linear_1(sinusoid.to(self.linear_1.weight.dtype))))
        return embedding


class TransformerBlock(nn.Module):
    """Self-attention and feed-forward modulated by the timestep; cross-attention without norm and gate."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        heads, head_dim, width = config.num_attention_heads, config.attention_head_dim, config.width
        self.scale_shift_table = random_table(6, width)
        self.attn = SelfAttention(heads, head_dim)
        self.cross_attn = CrossAttention(heads, head_dim)
        self.ff = FeedForward(width, config.feed_forward_width)

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        rotation: Rotation,
        keys_values: Sequence[tuple[Tensor, Tensor]],
        erg_temperature: Sequence[float],
        padding: Padding | None,
    ) -> Tensor:
        """x (B, T, D), modulation (B, 6, D) -> (B, T, D)."""
        table = (self.scale_shift_table + modulation).unsqueeze(2)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = table.unbind(1)  # (B, 1, D) each
        x = torch.addcmul(x, gate_a, self.attn(modulate(x, shift_a, scale_a), rotation, padding))
        x = x + self.cross_attn(x, rotation, keys_values, erg_temperature, padding)
        return torch.addcmul(x, gate_m, self.ff(modulate(x, shift_m, scale_m), padding))


class Transformer(PublishedPart):
    """The denoiser of `ace_step_transformer`. Latents and velocities are fp32 for every dtype of the weights."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.proj_in = PatchEmbedding(config.width)
        self.timestep_embedder = TimestepEmbedding(config.width)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(config.width, 6 * config.width))
        self.transformer_blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.num_layers))
        self.final_layer = FinalLayer(config.width)

    @classmethod
    def load(cls, checkpoint: Checkpoint, placement: Placement) -> Self:
        """As `PublishedPart.load`. Where the placement asks for it, compiles the blocks, which all share one graph."""
        transformer = super().load(checkpoint, placement)
        if placement.compile:
            keep_compiled_code(checkpoint.cache)
            for block in transformer.blocks:
                block.compile(dynamic=True)
        return transformer

    @property
    def blocks(self) -> list[TransformerBlock]:
        """The transformer blocks, first to last."""
        return cast("list[TransformerBlock]", list(self.transformer_blocks))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights and of the computation."""
        return self.final_layer.scale_shift_table.dtype

    def encode_condition(self, condition: Tensor, mask: Tensor) -> EncodedConditions:
        """The cross-attention keys and values of one condition (S, D) with its mask (S,)."""
        keep = mask.bool()
        rotation = self._rotation(len(condition), condition.device).rows(keep)
        tokens = condition[keep].to(self.dtype)
        return EncodedConditions(tuple(block.cross_attn.keys_and_values(tokens, rotation) for block in self.blocks))

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        conditions: Sequence[EncodedConditions],
        *,
        frames: Sequence[int] | None = None,
        erg_temperature: Sequence[float] | None = None,
        control: Tensor | None = None,
        control_scale: float | Tensor = 1.0,
        exact: bool = True,
    ) -> Tensor:
        """The velocity (noise minus data) of a batch of songs.

        Args:
            latents: (B, 8, 16, T), padded on the right where songs differ in length.
            timesteps: (B,) in 0..1000.
            conditions: one per row; their lengths may differ.
            frames: real length of each row; None when all rows have T frames.
            erg_temperature: factor on each row's cross-attention queries in `config.erg_blocks` (ERG); None leaves
                them unchanged. On self-attention queries it would cancel, since linear attention normalises by them.
            control: (B, T, D) from a control branch; rows of zeros change nothing.
            control_scale: strength of the control, one number for all rows or (B,).
            exact: whether each row equals its solo result; False pads as upstream does (see `Padding`).

        Returns:
            (B, 8, 16, T); only real frames are meaningful.

        Raises:
            ValueError: `frames` does not fit the batch.
        """
        return self.forward_with_states(
            latents, timesteps, conditions, (), frames, erg_temperature, control, control_scale, exact
        )[0]

    def forward_with_states(
        self,
        latents: Tensor,
        timesteps: Tensor,
        conditions: Sequence[EncodedConditions],
        depths: Sequence[int],
        frames: Sequence[int] | None = None,
        erg_temperature: Sequence[float] | None = None,
        control: Tensor | None = None,
        control_scale: float | Tensor = 1.0,
        exact: bool = True,
    ) -> tuple[Tensor, list[Tensor]]:
        """As `forward`; also returns the hidden states (B, T, D) after each block of `depths`, for REPA."""
        padding = Padding.of(frames, latents, self.dtype, exact)
        rotation = self._rotation(latents.shape[-1], latents.device)
        neutral = [1.0] * len(conditions)
        embedded = self.timestep_embedder(timesteps)
        modulation = self.t_block(embedded).unflatten(-1, (6, -1))

        x = self.proj_in(latents.to(self.dtype), padding)
        if control is not None:
            x = blend(x, control, control_scale, padding)
        states = {}
        for depth, block in enumerate(self.blocks):
            factors = erg_temperature if erg_temperature is not None and depth in self._erg_blocks else neutral
            keys_values = [condition.blocks[depth] for condition in conditions]
            x = block(x, modulation, rotation, keys_values, factors, padding)
            if depth in depths:
                states[depth] = x
        velocity = self.final_layer(x, embedded).to(latents.dtype)
        return velocity, [states[depth] for depth in depths]

    @property
    def _erg_blocks(self) -> range:
        first, last = self.config.erg_blocks
        return range(first, last + 1)

    def _rotation(self, length: int, device: torch.device) -> Rotation:
        return rotation(length, self.config.attention_head_dim, self.config.rope_theta, device)
