"""The transformer's forward pass for training: the same modules, applied to whole batches at once.

`Transformer.forward` serves songs: rows of any length, each with conditions of its own, one attention call per row. In
training, the rows of a batch have one length or are padded to it, the conditions change at every step, and the calls
are the main cost. So this pass handles all rows in one call. It gives the same velocities, which a test checks.

Text and lyrics are padded on the right, each by itself. A row's positions skip its padding, so they are those of the
song when it is sampled alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
from acestep_flows.model.patch import PatchEmbedding
from acestep_flows.model.rope import Rotation, rotation
from acestep_flows.model.transformer import Transformer, TransformerBlock
from acestep_flows.training.kinds.fused_blocks import HalfRotation, LinearAttention, MemoryAttention, Modulate, halves


@dataclass(frozen=True)
class ConditionBatch:
    """Condition tokens (B, S, D), their boolean mask (B, S), and each token's position (B, S) in its own song."""

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
    """Project and join a batch of conditions: text (B, L, w) and lyrics (B, M, w) with masks (B, L) and (B, M)."""
    tokens, mask = projector(text, text_mask, lyrics, lyric_mask, speaker)
    text_length = text.shape[1]
    positions = torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape[:2])
    padding = text_length - text_mask.sum(dim=1, keepdim=True).to(positions)  # padding between text and lyrics
    after_text = (positions > text_length).to(positions)
    return ConditionBatch(tokens, mask.bool(), positions - padding * after_text)


@dataclass(frozen=True)
class FrameContext:
    """The frames of a batch.

    Attributes:
        rope: rotation of the frames' positions.
        padding: None where all rows have T frames.
        real: (B, 1, T, 1), 1 on real frames; None where all are real.
    """

    rope: HalfRotation
    padding: Padding | None
    real: Tensor | None


@dataclass(frozen=True)
class ConditionTokens:
    """The conditions in the form of the blocks: tokens (B, S, D), mask (B, 1, 1, S), rotation of their positions."""

    tokens: Tensor
    mask: Tensor
    rope: HalfRotation


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
    """The velocity (B, 8, 16, T) for noisy `latents` at `timesteps` (B,) in 0..1000, and hidden states by depth.

    Args:
        lengths: real frames of each row; None when all rows have T.
        control: (B, T, D) from a control branch.
        control_scale: strength of the control.
        depths: blocks whose hidden states (B, T, D) are returned, for REPA.
        checkpointing: recompute activations inside blocks in the backward pass instead of keeping them.
    """
    frames, memory = _frames(transformer, latents, lengths), _condition_tokens(transformer, condition)
    embedded = transformer.timestep_embedder(timesteps)
    modulation = transformer.t_block(embedded).unflatten(-1, (6, -1))
    x = embed(transformer.proj_in, latents, frames.padding).float()
    if control is not None:
        x = blend(x, control, control_scale, frames.padding)
    states = {}
    for depth, block in enumerate(transformer.blocks):
        arguments = (block, x, modulation, frames, memory)
        x = checkpoint(_block, *arguments, use_reentrant=False) if checkpointing else _block(*arguments)
        if depth in depths:
            states[depth] = x
    velocity: Tensor = transformer.final_layer(x, embedded)
    return velocity.float(), states


def embed(proj_in: PatchEmbedding, latents: Tensor, padding: Padding | None = None) -> Tensor:
    """Embed latents (B, 8, 16, T) as tokens (B, T, D), like `PatchEmbedding.forward`."""
    if padding is not None:
        tokens: Tensor = proj_in(latents, padding)
        return tokens
    first, norm, last = cast("tuple[nn.Conv2d, nn.GroupNorm, nn.Conv2d]", tuple(proj_in.early_conv_layers))
    x = F.linear(latents.flatten(1, 2).mT, first.weight.flatten(1), first.bias)
    image = x.mT.unsqueeze(2)  # (B, T, C) is the channels-last layout of (B, C, 1, T)
    x = norm(image).squeeze(2).mT
    return F.linear(x, last.weight.flatten(1), last.bias)


def _frames(transformer: Transformer, latents: Tensor, lengths: tuple[int, ...] | None) -> FrameContext:
    config = transformer.config
    rope = rotation(latents.shape[-1], config.attention_head_dim, config.rope_theta, latents.device)
    padding = padding_of(lengths, latents)
    return FrameContext(HalfRotation.of(rope), padding, None if padding is None else padding.mask.unsqueeze(1))


def padding_of(lengths: tuple[int, ...] | None, latents: Tensor) -> Padding | None:
    """The padding of latents (B, 8, 16, T) whose rows have `lengths` real frames; None where all have T."""
    if lengths is None:
        return None
    counts = torch.tensor(lengths, device=latents.device).unsqueeze(1)
    mask = (torch.arange(latents.shape[-1], device=latents.device) < counts).unsqueeze(-1).float()
    return Padding(lengths, mask, exact=True)


def _condition_tokens(transformer: Transformer, condition: ConditionBatch) -> ConditionTokens:
    config, positions = transformer.config, condition.positions
    table = rotation(positions.shape[1], config.attention_head_dim, config.rope_theta, positions.device)
    rope = HalfRotation.of(Rotation(table.cos[positions], table.sin[positions])).per_head()
    return ConditionTokens(condition.tokens, condition.mask[:, None, None, :], rope)


def _block(
    block: TransformerBlock, x: Tensor, modulation: Tensor, frames: FrameContext, memory: ConditionTokens
) -> Tensor:
    shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (
        (block.scale_shift_table + modulation).float().unsqueeze(2).unbind(1)
    )
    x = torch.addcmul(x, gate_a, _self_attention(block.attn, _modulate(x, shift_a, scale_a), frames).float())
    x = x + _cross_attention(block.cross_attn, x, frames, memory)
    return torch.addcmul(x, gate_m, block.ff(_modulate(x, shift_m, scale_m), frames.padding).float())


def _self_attention(attention: SelfAttention, x: Tensor, frames: FrameContext) -> Tensor:
    """`SelfAttention.forward` for all rows at once."""
    heads = attention.heads
    qkv = _project(x, heads, (attention.to_q, attention.to_k), attention.to_v)
    y = _attend_linearly(qkv, frames.rope, frames.real, heads)
    out: Tensor = attention.to_out[0](y)
    return out.clamp(-FP16_MAX, FP16_MAX)


def _cross_attention(attention: CrossAttention, x: Tensor, frames: FrameContext, memory: ConditionTokens) -> Tensor:
    """`CrossAttention.forward` for all rows at once, with keys and values computed here."""
    heads = attention.heads
    q = _project(x, heads, (attention.to_q,))
    kv = _project(memory.tokens, heads, (attention.to_k,), attention.to_v)
    y = _attend(q, kv, frames.rope, memory.rope, memory.mask, heads)
    out: Tensor = attention.to_out[0](y)
    return out


def _project(x: Tensor, heads: int, rotated: Sequence[nn.Module], plain: nn.Module | None = None) -> Tensor:
    """Projections of x (B, L, D), concatenated. Those in `rotated` get their channels in halves."""
    layers = [*rotated, *([] if plain is None else [plain])]
    if all(type(layer) is nn.Linear for layer in layers):
        linears = cast("list[nn.Linear]", layers)
        weights = [halves(layer.weight, heads) if layer is not plain else layer.weight for layer in linears]
        biases = [halves(layer.bias, heads) if layer is not plain else layer.bias for layer in linears]
        return F.linear(x, torch.cat(weights), torch.cat(biases))
    return torch.cat([_to_halves(layer(x), heads) if layer is not plain else layer(x) for layer in layers], dim=-1)


def _to_halves(y: Tensor, heads: int) -> Tensor:
    """Reorder the channels of projected y (B, L, D) into halves."""
    split: Tensor = y.unflatten(-1, (heads, -1, 2))
    return split.transpose(-1, -2).flatten(2)


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    y: Tensor = Modulate.apply(x, shift, scale)  # type: ignore[no-untyped-call]
    return y


def _attend_linearly(qkv: Tensor, rope: HalfRotation, real: Tensor | None, heads: int) -> Tensor:
    y: Tensor = LinearAttention.apply(qkv, rope, real, heads)  # type: ignore[no-untyped-call]
    return y


def _attend(q: Tensor, kv: Tensor, rope: HalfRotation, key_rope: HalfRotation, mask: Tensor, heads: int) -> Tensor:
    y: Tensor = MemoryAttention.apply(q, kv, rope, key_rope, mask, heads)  # type: ignore[no-untyped-call]
    return y
