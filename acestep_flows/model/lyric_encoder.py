"""The lyric encoder: token ids to states, by a transformer with relative positions (spec 01 section 6).

It was published as a "conformer", but has no convolution and only one feed-forward per layer. Parameters have the
published names: `lyric_embs` and `lyric_encoder.*` of the transformer's weights file.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.weights import Embedding, PublishedPart

DROPOUT = 0.1
ROWS = 256
"""Queries per block of the attention: the scores of 4096 tokens at once would take gigabytes."""


class RelativeAttention(nn.Module):
    """Softmax attention with a learned term for the distance between query and key in its scores."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q, self.linear_k, self.linear_v, self.linear_out = (nn.Linear(width, width) for _ in range(4))
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u, self.pos_bias_v = (
            nn.Parameter(nn.init.xavier_uniform_(torch.empty(heads, width // heads))) for _ in range(2)
        )

    def forward(self, x: Tensor, mask: Tensor, distances: Tensor, erg_temperature: float) -> Tensor:
        """Attend within each row.

        Args:
            x: (B, L, w).
            mask: (B, L) boolean, true for keys that are attended to.
            distances: (2L-1, w), see `distance_table`.
            erg_temperature: factor on the queries.

        Returns:
            (B, L, w); zeros in rows without any key.
        """
        q = self._split(self.linear_q(x)) * erg_temperature
        k, v = self._split(self.linear_k(x)), self._split(self.linear_v(x))
        p = self._split(self.linear_pos(distances))  # (H, 2L-1, d)
        content, place = (q + bias.unsqueeze(1) for bias in (self.pos_bias_u, self.pos_bias_v))
        length, scale = x.shape[1], q.shape[-1] ** -0.5
        masked = ~mask[:, None, None, :]
        rows = []
        for begin in range(0, length, ROWS):
            end = min(begin + ROWS, length)
            block = p[:, length - end : 2 * length - 1 - begin]  # the distances from these queries to every key
            bias = scale * _by_key(place[:, :, begin:end] @ block.mT, length)
            bias.masked_fill_(masked, torch.finfo(x.dtype).min)
            rows.append(F.scaled_dot_product_attention(content[:, :, begin:end], k, v, bias, scale=scale))
        y = torch.cat(rows, dim=2) * mask.any(dim=-1)[:, None, None, None]
        out: Tensor = self.linear_out(y.transpose(1, 2).flatten(2))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """(..., L, w) -> (..., H, L, d)."""
        split: Tensor = x.unflatten(-1, (self.heads, -1))
        return split.transpose(-3, -2)


def _by_key(scores: Tensor, length: int) -> Tensor:
    """Reorder scores (..., R, L+R-1) of R queries from distance to key: (..., R, L).

    Distances start with the farthest key ahead. Key s of query i is entry R-1-i+s of its row, so the keys form a
    matrix whose rows are one entry shorter in memory.
    """
    rows, width = scores.shape[-2:]
    if rows == 1:
        return scores
    diagonal = scores.flatten(-2)[..., rows - 1 :]
    diagonal = diagonal[..., : rows * (width - 1)].unflatten(-1, (rows, width - 1))
    by_key: Tensor = diagonal[..., :length]
    return by_key


def distance_table(length: int, width: int, device: torch.device) -> Tensor:
    """Sinusoids (2L-1, width) of the distances L-1 down to -(L-1). Even channels are sines, odd ones cosines."""
    distances = torch.arange(length - 1, -length, -1, dtype=torch.float32, device=device)
    frequencies = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device=device) * -(math.log(1e4) / width))
    angles = torch.outer(distances, frequencies)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


class LyricFeedForward(nn.Module):
    """Two linear layers with SiLU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(width, hidden)
        self.w_2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.w_2(self.dropout(F.silu(self.w_1(x))))
        return y


class LyricLayer(nn.Module):
    """Attention and feed-forward, each after a layer norm and inside a residual."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.lyric_hidden_size
        self.self_attn = RelativeAttention(width, config.lyric_encoder_attention_heads)
        self.feed_forward = LyricFeedForward(width, config.lyric_encoder_linear_units)
        self.norm_mha = nn.LayerNorm(width, eps=1e-5)
        self.norm_ff = nn.LayerNorm(width, eps=1e-5)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, mask: Tensor, distances: Tensor, erg_temperature: float) -> Tensor:
        x = x + self.dropout(self.self_attn(self.norm_mha(x), mask, distances, erg_temperature))
        x = x + self.dropout(self.feed_forward(self.norm_ff(x)))
        return x  # noqa: RET504


class LyricLayers(nn.Module):
    """The part that the weights file calls `lyric_encoder`: the input projection and the layers."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.lyric_hidden_size
        self.embed = nn.ModuleDict({"out": nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width, eps=1e-5))})
        self.encoders = nn.ModuleList(LyricLayer(config) for _ in range(config.lyric_encoder_num_blocks))
        self.after_norm = nn.LayerNorm(width, eps=1e-5)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, mask: Tensor, erg_temperature: float, erg_layers: range) -> Tensor:
        length, width = x.shape[1:]
        x = self.dropout(self.embed["out"](x)) * math.sqrt(width)
        distances = self.dropout(distance_table(length, width, x.device).to(x.dtype))
        for depth, layer in enumerate(self.encoders):
            x = layer(x, mask, distances, erg_temperature if depth in erg_layers else 1.0)
        out: Tensor = self.after_norm(x)
        return out


class LyricEncoder(PublishedPart):
    """Encodes lyric token ids to states of width w = `lyric_hidden_size`."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.lyric_embs = Embedding(config.lyric_encoder_vocab_size, config.lyric_hidden_size)
        self.lyric_encoder = LyricLayers(config)

    def forward(self, ids: Tensor, mask: Tensor, erg_temperature: float = 1.0) -> Tensor:
        """ids and mask (B, L) -> states (B, L, w).

        Masked tokens are not attended to. They have states too, which the condition's mask excludes.

        Args:
            erg_temperature: factor on the queries of the layers `config.lyric_encoder_erg_blocks` (ERG).
        """
        first, last = self.config.lyric_encoder_erg_blocks
        erg_layers = range(first, last + 1)
        states: Tensor = self.lyric_encoder(self.lyric_embs(ids), mask.bool(), erg_temperature, erg_layers)
        return states
