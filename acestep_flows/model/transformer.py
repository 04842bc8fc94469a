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
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.attention import CrossAttention, SelfAttention
from acestep_flows.model.compiled_code import keep_compiled_code
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.control import blend
from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.feed_forward import FeedForward
from acestep_flows.model.float8 import check_float8, use_float8
from acestep_flows.model.frame_mixing import frame_mixing
from acestep_flows.model.padding import Padding
from acestep_flows.model.patch import FinalLayer, PatchEmbedding, norm_and_move
from acestep_flows.model.rope import Rotation, rotation
from acestep_flows.model.weights import PublishedPart, random_table

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.model.placement import Placement

FREQUENCIES = 256


class TimestepEmbedding(nn.Module):
    """Embeds timesteps in 0..1000 (1000 sigma, not sigma) as vectors of width D."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(FREQUENCIES, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, timesteps: Tensor) -> Tensor:
        """timesteps (B,) -> (B, D). The sinusoids are cosines, then sines."""
        angles = timesteps.float().unsqueeze(-1) * _frequencies(timesteps.device)
        sinusoid = torch.cat((angles.cos(), angles.sin()), dim=-1)
        embedding: Tensor = self.linear_2(F.silu(self.linear_1(sinusoid.to(self.linear_1.weight.dtype))))
        return embedding


@lru_cache(maxsize=16)
def _frequencies(device: torch.device) -> Tensor:
    half = FREQUENCIES // 2
    with torch.inference_mode(False):  # kept tensors must also serve training
        return (-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=device) / half).exp()


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
        table: Tensor,
        factors: Tensor,
        rotation: Rotation,
        keys_values: Any,
        erg_temperature: Any,
        padding: Padding | None,
    ) -> Tensor:
        """x (B, T, D) -> (B, T, D).

        Args:
            table: (B, 6, 1, D): shift, scale and gate of self-attention, then those of feed-forward.
            factors: (B, 2, 1, D): one plus both scales.
        """
        shift_a, _, gate_a, shift_m, _, gate_m = table.unbind(1)
        factor_a, factor_m = factors.unbind(1)
        x = torch.addcmul(x, gate_a, self.attn(norm_and_move(x, shift_a, factor_a), rotation, padding))
        x = x + self.cross_attn(x, rotation, keys_values, erg_temperature, padding)
        return torch.addcmul(x, gate_m, self.ff(norm_and_move(x, shift_m, factor_m), padding))


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
        """As `PublishedPart.load`. Where the placement asks for it, rounds products to fp8 and compiles the blocks.

        Raises:
            InputError: the device has no fp8 products.
        """
        if placement.fp8:
            check_float8(torch.device(placement.device))
        transformer = super().load(checkpoint, placement)
        if placement.fp8:
            use_float8(transformer.blocks)
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
        rotation = self.rotation(len(condition), condition.device).rows(keep)
        tokens = condition[keep].to(self.dtype)
        pairs = [torch.stack(block.cross_attn.keys_and_values(tokens, rotation)) for block in self.blocks]
        return EncodedConditions(torch.stack(pairs))

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
        solo_rows: Sequence[int] | None = None,
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
            solo_rows: how many rows each row's pass would have if its song were alone; None: as this one. Processors
                sum products of one row in another order than those of several, so they need it for `exact`.

        Returns:
            (B, 8, 16, T); only real frames are meaningful.

        Raises:
            ValueError: `frames` does not fit the batch.
        """
        return self.forward_with_states(
            latents, timesteps, conditions, (), frames, erg_temperature, control, control_scale, exact, solo_rows
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
        solo_rows: Sequence[int] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """As `forward`; also returns the hidden states (B, T, D) after each block of `depths`, for REPA."""
        memories = frame_mixing(latents.device).memories(conditions)
        padding = Padding.of(frames, latents, self.dtype, exact)
        return self.denoise(
            latents, timesteps, memories, padding, erg_temperature, control, control_scale, depths, solo_rows
        )

    def denoise(
        self,
        latents: Tensor,
        timesteps: Tensor,
        memories: Sequence[Any],
        padding: Padding | None,
        erg_temperature: Sequence[float] | Tensor | None = None,
        control: Tensor | None = None,
        control_scale: float | Tensor = 1.0,
        depths: Sequence[int] = (),
        solo_rows: Sequence[int] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """As `forward_with_states`, from what the device's `FrameMixing` made of the conditions, by block.

        Where every argument is a tensor on the device, it asks nothing of the host: such a pass can be captured.
        """
        mixing = frame_mixing(latents.device)
        rotation = mixing.rotation(self.rotation(latents.shape[-1], latents.device), padding)
        neutral = rectified = mixing.factors([1.0] * len(latents), rotation)
        if erg_temperature is not None:
            rectified = mixing.factors(erg_temperature, rotation)
        embedded, modulations = mixing.per_row(self._embed, timesteps, solo_rows)
        tables = self._modulation(modulations)

        x = self.proj_in(latents.to(self.dtype), padding)
        if control is not None:
            x = blend(x, control, control_scale, padding)
        states = {}
        for depth, (block, modulation, memory) in enumerate(zip(self.blocks, tables, memories, strict=True)):
            factors = rectified if depth in self._erg_blocks else neutral
            x = block(x, *modulation, rotation, memory, factors, padding)
            if depth in depths:
                states[depth] = x
        velocity = self.final_layer(x, embedded).to(latents.dtype)
        return velocity, [states[depth] for depth in depths]

    def _embed(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Timesteps (B,) as vectors (B, D), and what modulates the blocks (B, 6 D)."""
        embedded = self.timestep_embedder(timesteps)
        return embedded, self.t_block(embedded)

    def _modulation(self, modulation: Tensor) -> list[tuple[Tensor, Tensor]]:
        """`table` and `factors` of each block, computed for all blocks at once from (B, 6 D)."""
        modulation = modulation.unflatten(-1, (6, -1))
        tables = torch.stack([block.scale_shift_table for block in self.blocks]).unsqueeze(1) + modulation
        tables = tables.unsqueeze(3)  # (blocks, B, 6, 1, D)
        return list(zip(tables, 1 + tables[:, :, 1::3], strict=True))

    @property
    def _erg_blocks(self) -> range:
        first, last = self.config.erg_blocks
        return range(first, last + 1)

    def rotation(self, length: int, device: torch.device) -> Rotation:
        """The rotary factors of that many positions."""
        return rotation(length, self.config.attention_head_dim, self.config.rope_theta, device)
