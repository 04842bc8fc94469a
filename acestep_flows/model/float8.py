"""Matrix products in 8 bits (fp8, e4m3), on GPUs that have them: about twice as fast as bfloat16, and coarser.

Every row of a weight and every token has a scale of its own, found in the token itself. So a token is rounded in the
same way whoever shares its pass. Sums are fp32, and norms, attention and modulation stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model.large_products import replace_large_products

FP8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FP8).max
CAPABILITY = (8, 9)
"""Compute capability from which on NVIDIA GPUs multiply fp8."""
SMALLEST = 1e-12


def has_float8(device: torch.device) -> bool:
    """Whether a GPU multiplies fp8."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= CAPABILITY


def check_float8(device: torch.device) -> None:
    """Refuse a device without fp8 products.

    Raises:
        InputError: it has none.
    """
    if has_float8(device):
        return
    allowed = "an NVIDIA GPU of compute capability 8.9 or more (RTX 4090, H100, H200), or fp8 off"
    raise InputError(f"{device.type} has no fp8 products on this machine", where="fp8", allowed=allowed)


class Float8Linear(nn.Module):
    """A linear layer whose product is made in fp8: (..., I) to (..., O)."""

    content: Tensor
    scale: Tensor
    bias: Tensor | None
    weight: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        content, scale = rounded(weight)
        self.register_buffer("content", content)
        self.register_buffer("scale", scale.mT.contiguous())  # (1, O)
        self.register_buffer("bias", bias)
        self.register_buffer("weight", weight.new_empty(0))  # says dtype and device to those who extend the layer

    def forward(self, x: Tensor) -> Tensor:
        tokens, scale = rounded(x.flatten(0, -2))
        product: Tensor = torch._scaled_mm(
            tokens, self.content.mT, scale_a=scale, scale_b=self.scale, out_dtype=torch.bfloat16
        )
        if self.bias is not None:
            product = product + self.bias
        out: Tensor = product.to(x.dtype).unflatten(0, x.shape[:-1])
        return out


def rounded(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (n, I) in fp8, and the scales (n, 1) to multiply them by."""
    scale = rows.abs().amax(dim=-1, keepdim=True).float().clamp(min=SMALLEST) / LARGEST
    return (rows / scale).clamp(-LARGEST, LARGEST).to(FP8), scale


def use_float8(blocks: Iterable[Any]) -> None:
    """Replace the large products of a transformer's blocks by those in fp8."""
    replace_large_products(blocks, Float8Linear)
