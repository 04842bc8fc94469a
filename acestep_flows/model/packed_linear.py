"""Linear layers whose weights are packed once for oneDNN, in the blocks that its kernels read. For processors.

They serve inference alone: a packed weight has no gradient, and its plain form is given up.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["none", "swish"]
"""What oneDNN does to a product while it is in a register; swish is its name for SiLU."""


class PackedLinear(nn.Module):
    """A linear layer over a packed weight: (..., I) to (..., O).

    Args:
        weight: (O, I), fp32 or bf16 on the CPU.
        bias: (O,); None for none.
    """

    content: Tensor
    bias: Tensor | None
    weight: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("content", torch.ops.mkldnn._reorder_linear_weight(weight.detach()))
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.register_buffer("weight", weight.new_empty(0))  # says dtype and device to those who extend the layer

    def forward(self, x: Tensor) -> Tensor:
        return self._product(x, "none")

    def silu(self, x: Tensor) -> Tensor:
        """SiLU of the layer's output."""
        return self._product(x, "swish")

    def _product(self, x: Tensor, activation: Activation) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.content, self.bias, activation, [], "")
        return out


def silu_of(layer: Any, x: Tensor) -> Tensor:
    """SiLU of a layer's output for x, in one pass over it where the layer can."""
    if isinstance(layer, PackedLinear):
        return layer.silu(x)
    return F.silu(layer(x), inplace=True)
