"""Who multiplies on a processor: torch by itself, or oneDNN with packed weights, whichever is faster on this machine.

torch multiplies fp32 by MKL, which leaves much of the rate of AMD processors with AVX-512 unused. Both ways are timed
once on a machine. In bf16 torch asks oneDNN, too, but with plain weights, which are packed anew for every product, so
there packed ones are taken wherever they are.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model.kept_choice import choose
from acestep_flows.model.large_products import replace_large_products
from acestep_flows.model.packed_linear import PackedLinear
from acestep_flows.model.placement import has_fast_bfloat16
from acestep_flows.model.timing import by_turns

if TYPE_CHECKING:
    from acestep_flows.model.placement import Placement

Library = Literal["torch", "onednn"]

MARGIN = 1.15
"""How many times as fast packed products must be to be chosen. A busy machine must not choose, and near 1 it would."""
TOKENS, INPUTS, OUTPUTS = 128, 512, 2560
X86 = ("x86_64", "amd64")
"""Processors on which rows of packed products were checked to be the same in any company."""
LEAST_INPUTS = 256
"""Inputs below which a product is left to torch: its time is that of the call."""
BLOCK_INPUTS, BLOCKS_SUMMED, BLOCK_OUTPUTS = 16, 64, 64
"""Inputs of a block of oneDNN, how many such blocks it sums in one go, and outputs of a block."""


@dataclass(frozen=True)
class ProductRates:
    """Floating point operations of a linear product in a second of one core of this machine.

    Attributes:
        torch: as torch makes it.
        onednn: by oneDNN with packed weights; 0 where this torch has none, or none for the dtype.
    """

    torch: float
    onednn: float = 0.0

    @property
    def faster(self) -> Library:
        """The library to use. oneDNN has to be faster by `MARGIN`."""
        return "onednn" if self.onednn > MARGIN * self.torch else "torch"


@lru_cache(maxsize=4)
def product_rates(dtype: torch.dtype) -> ProductRates:
    """The rates of both ways, timed by turns on the first call, in some 0.2 s."""
    with torch.inference_mode():
        weight, x = (torch.full((rows, INPUTS), 0.1, dtype=dtype) for rows in (OUTPUTS, TOKENS))
        packed = packed_or_none(weight, None)
        ways = [partial(F.linear, x, weight), *([partial(packed, x)] if packed else [])]
        own, *others = (2 * TOKENS * INPUTS * OUTPUTS / seconds for seconds in by_turns(*ways))
    return ProductRates(own, *others)


def library_for(placement: Placement) -> Library:
    """Who makes the large products of a network that only makes songs.

    Raises:
        InputError: oneDNN is asked for, and this torch has no packed products of the placement's dtype.
    """
    if placement.device != "cpu" or placement.compile or placement.products == "torch":
        return "torch"
    dtype = getattr(torch, placement.dtype)
    has_packed = packed_or_none(torch.zeros(16, 16, dtype=dtype), None) is not None
    if placement.products == "onednn":
        if not has_packed:
            what = f"this torch has no packed products in {placement.dtype}"
            raise InputError(what, where="products", allowed="auto, torch")
        return "onednn"
    if dtype == torch.bfloat16:
        return "onednn" if has_packed and has_fast_bfloat16("cpu") else "torch"
    library = choose(f"products-{placement.dtype}", get_args(Library), lambda: product_rates(dtype).faster)
    return cast("Library", library)


def use_fastest_products(blocks: Iterable[Any], placement: Placement) -> None:
    """Pack the large products of a transformer's blocks where oneDNN makes them; their plain weights are released."""
    if library_for(placement) == "onednn":
        replace_large_products(blocks, packed_in_order)


def packed_in_order(weight: Tensor, bias: Tensor | None) -> nn.Module | None:
    """The packed layer; None where it gains nothing, or where its sums would depend on who shares the pass.

    oneDNN divides the sums of many inputs among threads when there are fewer blocks of rows and outputs than work for
    them. Rows of a pass are more when songs share it, so a song in company would differ in last digits.
    """
    outputs, inputs = weight.shape
    sums, blocks = math.ceil(inputs / BLOCK_INPUTS) // BLOCKS_SUMMED, math.ceil(outputs / BLOCK_OUTPUTS)
    divided = inputs > BLOCK_INPUTS * BLOCKS_SUMMED and blocks < 2 * sums * torch.get_num_threads()
    return None if divided or inputs < LEAST_INPUTS else PackedLinear(weight, bias)


def packed_or_none(weight: Tensor, bias: Tensor | None) -> PackedLinear | None:
    """The packed layer; None where this torch, or this processor, has none."""
    if platform.machine().lower() not in X86 or not torch.backends.mkldnn.is_available():
        return None
    try:
        layer = PackedLinear(weight, bias)
        layer(weight.new_zeros(1, weight.shape[1]))
    except (AttributeError, RuntimeError):
        return None
    return layer
