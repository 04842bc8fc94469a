"""The large products of the transformer's blocks, and how layers that make them otherwise take their places."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

Make = Callable[[Tensor, Tensor | None], nn.Module | None]
"""A layer from weight (O, I) and bias (O,); None leaves the layer that is there."""

ATTENTION = ("to_q", "to_k", "to_v")
FEED_FORWARD = ("inverted_conv", "point_conv")


def replace_large_products(blocks: Iterable[Any], make: Make) -> None:
    """Give every large product of `blocks` another layer, one after the other, so that memory holds few of them twice.

    Keys and values of conditions are made once a song and stay as they are.
    """
    for block in blocks:
        for attention, names in ((block.attn, ATTENTION), (block.cross_attn, ATTENTION[:1])):
            for name in names:
                layer = getattr(attention, name)
                _put(attention, name, make(layer.weight, layer.bias))
            out = attention.to_out[0]
            _put(attention.to_out, "0", make(out.weight, out.bias))
        for name in FEED_FORWARD:
            convolution = getattr(block.ff, name).conv  # 1x1: a linear layer
            _put(block.ff, name, make(convolution.weight.squeeze(-1), convolution.bias))


def _put(parent: nn.Module, name: str, layer: nn.Module | None) -> None:
    if layer is not None:
        setattr(parent, name, layer)
