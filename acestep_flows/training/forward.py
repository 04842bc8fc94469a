"""The transformer's forward pass for training: the same modules, whole batches at once.

`Transformer.forward` serves songs: rows of any length, each with a memory of its own, one attention call per row. In
training the rows of a batch are of one length or padded to it, the memory is made anew at every step, and what costs
are the calls. So this walk takes every row in one call, and gives the same velocities; a test holds that.

Conditions are right-padded part by part. A row's tokens are counted without its padding, so that positions are those
the song has when it is rendered alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from acestep_flows.model.attention import FP16_MAX, CrossAttention, SelfAttention
from acestep_flows.model.condition import ConditionProjector
from acestep_flows.model.control import blend
from acestep_flows.model.padding import Padding
from acestep_flows.model.patch import PatchEmbedding, modulate
from acestep_flows.model.rope import Rotation, rotate, rotation
from acestep_flows.model.transformer import Block, Transformer


@dataclass(frozen=True)
class ConditionBatch:
    """Condition tokens (B, S, D), their mask (B, S) boolean, and each token's position in its own song (B, S)."""

    tokens: Tensor
    mask: Tensor
    positions: Tensor


def condition_batch(
    projector: ConditionProjector,
    text: Tensor,
    text_mask: Tensor,
    lyrics: Tensor,
    lyric_mask: Tensor,
    speaker: Tensor | None = None,
) -> ConditionBatch:
    """Project and join a batch of conditions; text (B, L, w), lyrics (B, M, w), masks alike."""
    tokens, mask = projector(text, text_mask, lyrics, lyric_mask, speaker)
    length = text.shape[1]
    positions = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[:2])
    missing = length - text_mask.sum(dim=1, keepdim=True).to(positions)  # padding between text and lyrics
    after_text = (positions > length).to(positions)
    return ConditionBatch(tokens, mask.bool(), positions - missing * after_text)


@dataclass(frozen=True)
class Frames:
    """What a batch knows of its frames: the rotation of positions, and the padding where rows differ in length."""

    by: Rotation
    padding: Padding | None
    mask: Tensor | None
    """(B, 1, T, 1), 1 on real frames; None where all are."""


def predict(
    transformer: Transformer,
    latents: Tensor,
    timesteps: Tensor,
    condition: ConditionBatch,
    *,
    lengths: tuple[int, ...] | None = None,
    control: Tensor | None = None,
    control_scale: float | Tensor = 1.0,
    depths: Collection[int] = (),
    checkpointing: bool = False,
) -> tuple[Tensor, dict[int, Tensor]]:
    """The velocity (B, 8, 16, T) of noisy `latents` at `timesteps` (B,), and the hidden states after `depths`.

    Args:
        lengths: real frames of each row; None when all rows have T.
        control: (B, T, D) from a control branch.
        depths: blocks after which hidden states (B, T, D) are wanted, for REPA.
        checkpointing: keep no activations inside blocks; compute them again on the way back.
    """
    config, frames = transformer.config, _frames(transformer, latents, lengths)
    table = rotation(int(condition.positions.shape[1]), config.attention_head_dim, config.rope_theta, latents.device)
    key_rotation = Rotation(table.cos[condition.positions], table.sin[condition.positions])
    mask = condition.mask[:, None, None, :]

    embedded = transformer.timestep_embedder(timesteps)
    modulation = transformer.t_block(embedded).unflatten(-1, (6, -1))
    x = embed(transformer.proj_in, latents, frames.padding)
    if control is not None:
        x = blend(x, control, control_scale, frames.padding)
    states = {}
    for depth, block in enumerate(transformer.blocks):
        arguments = (block, x, modulation, frames, condition.tokens, mask, key_rotation)
        x = checkpoint(_block, *arguments, use_reentrant=False) if checkpointing else _block(*arguments)
        if depth in depths:
            states[depth] = x
    velocity: Tensor = transformer.final_layer(x, embedded)
    return velocity.float(), states


def embed(proj_in: PatchEmbedding, latents: Tensor, padding: Padding | None = None) -> Tensor:
    """As `PatchEmbedding.forward`: latents (B, 8, 16, T) to tokens (B, T, D)."""
    if padding is not None:
        tokens: Tensor = proj_in(latents, padding)
        return tokens
    first, norm, last = cast("tuple[nn.Conv2d, nn.GroupNorm, nn.Conv2d]", tuple(proj_in.early_conv_layers))
    x = F.linear(latents.flatten(1, 2).mT, first.weight.flatten(1), first.bias)
    image = x.mT.unsqueeze(2)  # (B, T, C) is the channels-last layout of (B, C, 1, T)
    x = norm(image).squeeze(2).mT
    return F.linear(x, last.weight.flatten(1), last.bias)


def _frames(transformer: Transformer, latents: Tensor, lengths: tuple[int, ...] | None) -> Frames:
    config = transformer.config
    by = rotation(latents.shape[-1], config.attention_head_dim, config.rope_theta, latents.device)
    padding = Padding.of(lengths, latents, torch.float32, exact=True)
    return Frames(by, padding, None if padding is None else padding.mask.unsqueeze(1))


def _block(
    block: Block,
    x: Tensor,
    modulation: Tensor,
    frames: Frames,
    tokens: Tensor,
    mask: Tensor,
    key_rotation: Rotation,
) -> Tensor:
    shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (block.scale_shift_table + modulation).unsqueeze(2).unbind(1)
    x = x + gate_a * _self_attention(block.attn, modulate(x, shift_a, scale_a), frames)
    x = x + _cross_attention(block.cross_attn, x, frames, tokens, mask, key_rotation)
    return x + gate_m * block.ff(modulate(x, shift_m, scale_m), frames.padding)


def _split(to: Callable[[Tensor], Tensor], x: Tensor, heads: int) -> Tensor:
    return to(x).unflatten(-1, (heads, -1))


def _self_attention(attention: SelfAttention, x: Tensor, frames: Frames) -> Tensor:
    """As `SelfAttention.forward`, all rows at once."""
    q, k = (
        rotate(_split(to, x, attention.heads), frames.by).relu().transpose(1, 2)
        for to in (attention.to_q, attention.to_k)
    )
    v = _split(attention.to_v, x, attention.heads).float().transpose(1, 2)  # (B, H, T, d), as q and k
    if frames.mask is not None:
        k = k * frames.mask
    with torch.autocast(x.device.type, enabled=False):
        numerator = q @ (k.mT @ v)
        denominator = q @ k.sum(dim=-2).unsqueeze(-1)
        y = numerator / (denominator + 1e-15)
    out: Tensor = attention.to_out[0](y.transpose(1, 2).flatten(2))
    return out.clamp(-FP16_MAX, FP16_MAX)


def _cross_attention(
    attention: CrossAttention, x: Tensor, frames: Frames, tokens: Tensor, mask: Tensor, key_rotation: Rotation
) -> Tensor:
    """As `CrossAttention.forward` over a memory made here, all rows at once."""
    q = rotate(_split(attention.to_q, x, attention.heads), frames.by).transpose(1, 2)
    k = rotate(_split(attention.to_k, tokens, attention.heads), key_rotation).transpose(1, 2)
    v = _split(attention.to_v, tokens, attention.heads).transpose(1, 2)
    # Written out: at these sizes the fused kernel's way back takes ten times as long.
    scores = (q.to(v.dtype) * attention.head_dim**-0.5 @ k.to(v.dtype).mT).float().masked_fill(~mask, -torch.inf)
    y = scores.softmax(dim=-1).to(v.dtype) @ v
    out: Tensor = attention.to_out[0](y.transpose(1, 2).flatten(2))
    return out
