"""UMT5's encoder (Chung et al. 2023; T5: Raffel et al. 2020): the network of the text encoder.

It equals transformers' `UMT5EncoderModel`, parameter names included, and takes none of the two seconds that importing
that class takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acestep_flows.model.layout import Config
from acestep_flows.model.weights import Embedding

NO_FACTORS: Mapping[int, float] = {}


class ScaleNorm(nn.Module):
    """Divides by the root mean square and multiplies by a weight. The mean square is taken in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        mean_square = x.float().pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(mean_square + self._eps)).to(self.weight.dtype)


class TokenAttention(nn.Module):
    """Attention over all tokens with a bias by relative position. Queries are not scaled."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._heads, width = config["num_heads"], config["d_model"]
        self._buckets = config["relative_attention_num_buckets"]
        self._farthest = config["relative_attention_max_distance"]
        inner = self._heads * config["d_kv"]
        self.q, self.k, self.v = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, width, bias=False)
        self.relative_attention_bias = Embedding(self._buckets, self._heads)

    def forward(self, x: Tensor, mask: Tensor, query_factor: float = 1.0) -> Tensor:
        """(B, L, width) of (B, L, width), with an additive mask (B, 1, 1, L)."""
        queries = self.q(x) if query_factor == 1.0 else F.linear(x, self.q.weight * query_factor)
        query, key, value = (self._split(part) for part in (queries, self.k(x), self.v(x)))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self._bias(x.shape[1]) + mask, scale=1.0)
        output: Tensor = self.o(mixed.transpose(1, 2).flatten(-2))
        return output

    def _split(self, x: Tensor) -> Tensor:
        """(B, heads, L, head width) of (B, L, heads x head width)."""
        return x.unflatten(-1, (self._heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]

    def _bias(self, length: int) -> Tensor:
        """The bias (1, heads, L, L) of each head for each pair of places."""
        places = torch.arange(length, device=self.relative_attention_bias.weight.device)
        bias: Tensor = self.relative_attention_bias(self._bucket(places[None] - places[:, None]))
        return bias.permute(2, 0, 1)[None]

    def _bucket(self, offset: Tensor) -> Tensor:
        """The bucket of each offset between two places: one for each short distance, wider ones further away."""
        half = self._buckets // 2
        exact = half // 2
        distance = offset.abs()
        wide = torch.log(distance.float() / exact) / math.log(self._farthest / exact) * (half - exact)
        far = (exact + wide.clamp(min=0).long()).clamp(max=half - 1)
        bucket: Tensor = half * (offset > 0).long() + torch.where(distance < exact, distance, far)
        return bucket


def gelu(x: Tensor) -> Tensor:
    """GELU's tanh form, written out: torch's own rounds differently, and a seed would be another song."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class GatedFeedForward(nn.Module):
    """Two projections, one through GELU (its tanh form), multiplied and projected back."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.wi_0, self.wi_1 = (nn.Linear(config["d_model"], config["d_ff"], bias=False) for _ in range(2))
        self.wo = nn.Linear(config["d_ff"], config["d_model"], bias=False)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.wo(gelu(self.wi_0(x)) * self.wi_1(x))
        return output


class AttentionLayer(nn.Module):
    """Self-attention behind a norm, added to its input."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.SelfAttention = TokenAttention(config)
        self.layer_norm = ScaleNorm(config["d_model"], config["layer_norm_epsilon"])

    def forward(self, x: Tensor, mask: Tensor, query_factor: float) -> Tensor:
        output: Tensor = x + self.SelfAttention(self.layer_norm(x), mask, query_factor)
        return output


class FeedForwardLayer(nn.Module):
    """The feed-forward network behind a norm, added to its input."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.DenseReluDense = GatedFeedForward(config)
        self.layer_norm = ScaleNorm(config["d_model"], config["layer_norm_epsilon"])

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.DenseReluDense(self.layer_norm(x))
        return output


class Block(nn.Module):
    """Both layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(config), FeedForwardLayer(config)])

    def forward(self, x: Tensor, mask: Tensor, query_factor: float = 1.0) -> Tensor:
        attention, feed_forward = self.layer
        output: Tensor = feed_forward(attention(x, mask, query_factor))
        return output


class Stack(nn.Module):
    """All blocks and a norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.block = nn.ModuleList(Block(config) for _ in range(config["num_layers"]))
        self.final_layer_norm = ScaleNorm(config["d_model"], config["layer_norm_epsilon"])

    def forward(self, x: Tensor, mask: Tensor, query_factors: Mapping[int, float]) -> Tensor:
        for index, block in enumerate(self.block):
            x = block(x, mask, query_factors.get(index, 1.0))
        output: Tensor = self.final_layer_norm(x)
        return output


class Umt5Encoder(nn.Module):
    """Token ids to the states of the last block, normalised.

    Raises:
        KeyError: the config lacks a size.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.shared = Embedding(config["vocab_size"], config["d_model"])
        self.encoder = Stack(config)

    def forward(self, ids: Tensor, mask: Tensor, query_factors: Mapping[int, float] = NO_FACTORS) -> Tensor:
        """Last states (B, L, width) of token ids (B, L) with their mask (B, L; 1 for tokens, 0 for padding).

        Args:
            query_factors: factors on the self-attention queries of blocks, by index.
        """
        x: Tensor = self.shared(ids)
        smallest = torch.finfo(x.dtype).min
        unread = torch.zeros_like(mask, dtype=x.dtype).masked_fill(mask == 0, smallest)[:, None, None]
        states: Tensor = self.encoder(x, unread, query_factors)
        return states
