"""How GPUs mix the frames of songs: all rows at once, so that a pass is as many kernels for 64 rows as for one.

Padded frames and padded condition tokens get no weight, so every song still equals its solo result.
B rows (songs), T frames, S condition tokens, H heads, d channels of a head, D = H d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import pad

from acestep_flows.model.encoded_conditions import EncodedConditions
from acestep_flows.model.kept_stacks import KeptStacks
from acestep_flows.model.padding import Padding
from acestep_flows.model.product_precision import fast_products
from acestep_flows.model.rope import Rotation
from acestep_flows.model.transfer import on_device

COUNTERS = 4
"""Columns of ones beside the values: one sums the weights, and four keep rows of the product aligned."""
STEP = 8
"""Memories are padded to a multiple of this many tokens, as kernels for masked attention want it."""


class StackedMemory(NamedTuple):
    """What the rows of a pass attend to in one block: keys and values (B, H, S, d).

    Attributes:
        mask: (B, 1, 1, S), 0 on real tokens and minus infinity on padded ones; None where all are real.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor | None


class AllRows:
    """The operations of `FrameMixing`, each over the whole batch."""

    def __init__(self) -> None:
        self._stacks = KeptStacks(_stack)

    def per_row(
        self, work: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor, solo_rows: Sequence[int] | None
    ) -> tuple[Tensor, ...]:
        return work(x)

    def rotation(self, rotation: Rotation, padding: Padding | None) -> Rotation:
        """Factors (B, T, 1, d) that turn padded frames to zero: then queries and keys need no mask of their own."""
        if padding is None or rotation.cos.dim() == 4:
            return rotation
        real = padding.mask.float().unsqueeze(2)
        return Rotation(rotation.cos * real, rotation.sin * real)

    def memories(self, conditions: Sequence[EncodedConditions]) -> list[StackedMemory]:
        return self._stacks.of(conditions)

    def factors(self, erg_temperature: Sequence[float] | Tensor, rotation: Rotation) -> Rotation:
        """The rotation of the queries with the factors in it, so that they cost nothing in a block."""
        if not isinstance(erg_temperature, Tensor) and all(factor == 1.0 for factor in erg_temperature):
            return rotation
        factors = on_device(erg_temperature, rotation.cos.device, torch.float32).view(-1, 1, 1, 1)
        return Rotation(rotation.cos * factors, rotation.sin * factors)

    def group_moments(self, x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
        return _moments(x, padding, (1, 3), correction=0)

    def row_moments(self, x: Tensor, padding: Padding | None) -> tuple[Tensor, Tensor]:
        variance, mean = _moments(x, padding, (1, 2), correction=1)
        return variance.sqrt(), mean

    def self_attention(self, q: Tensor, k: Tensor, v: Tensor, rotation: Rotation, padding: Padding | None) -> Tensor:
        """Two products: keys by values, then queries by that. The columns of ones give the sums of the weights."""
        rotation = self.rotation(rotation, padding)
        pair = torch.stack((q.transpose(1, 2), k.transpose(1, 2)))  # (2, B, H, T, d): every product below is a view
        q_rotated, k_rotated = _rotate(pair, rotation.cos.transpose(-3, -2), rotation.sin.transpose(-3, -2)).relu_()
        v = v.transpose(1, 2)
        ones = _one(v.device).expand(*v.shape[:-1], COUNTERS)
        with fast_products(q.device, q.dtype):
            sums = k_rotated.mT @ torch.cat((v, ones), dim=-1)  # the ones are fp32, so the product is
            weighted = q_rotated @ sums
        numerator, denominator = weighted[..., :-COUNTERS], weighted[..., -1:] + 1e-15
        return _divide(numerator, denominator, q.dtype).flatten(2)

    def cross_attention(
        self,
        q: Tensor,
        rotation: Rotation,
        keys_values: StackedMemory | Sequence[tuple[Tensor, Tensor]],
        factors: Rotation | Sequence[float],
        padding: Padding | None,
    ) -> Tensor:
        if not isinstance(keys_values, StackedMemory):
            (keys_values,) = _memories([torch.stack(pair)[None] for pair in keys_values])
        if not isinstance(factors, Rotation):
            factors = self.factors(factors, rotation)
        if len(keys_values.keys) != len(q):
            raise ValueError(f"zip() of {len(q)} rows and {len(keys_values.keys)} conditions")
        rotated = _rotate(q, factors.cos, factors.sin, q.dtype)
        y = F.scaled_dot_product_attention(
            rotated.transpose(1, 2), keys_values.keys, keys_values.values, attn_mask=keys_values.mask
        )
        y = y.transpose(1, 2).flatten(2)
        return y if padding is None or padding.exact else y * padding.mask


@lru_cache(maxsize=16)
def _one(device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept tensors must also serve training
        return torch.ones((), device=device)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """As `rope.rotate`, with the result in `dtype`; operands of lower precision are not copied to fp32 first."""
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    turned = x * cos
    if torch.is_grad_enabled() or turned.dtype == dtype:
        return torch.addcmul(turned, swapped, sin).to(dtype)
    return torch.addcmul(turned, swapped, sin, out=torch.empty_like(x, dtype=dtype))


def _divide(numerator: Tensor, denominator: Tensor, dtype: torch.dtype) -> Tensor:
    """The quotient of (B, H, T, d) and (B, H, T, 1) as (B, T, H, d) in `dtype`, in one kernel where no gradient is."""
    if torch.is_grad_enabled():
        return (numerator / denominator).transpose(1, 2).to(dtype)
    batch, heads, frames, channels = numerator.shape
    out = numerator.new_empty((batch, frames, heads, channels), dtype=dtype)
    torch.div(numerator, denominator, out=out.transpose(1, 2))
    return out


def _moments(x: Tensor, padding: Padding | None, dims: tuple[int, int], correction: int) -> tuple[Tensor, Tensor]:
    """Variance and mean of x (B, T, ...) over `dims`, of which the first is time; over real frames if padding is exact.

    Args:
        correction: what is taken off the count to make the variance unbiased.
    """
    if padding is None or not padding.exact:
        variance, mean = torch.var_mean(x, dim=dims, correction=correction, keepdim=True)
        return variance, mean
    shape = (-1, *(1 for _ in x.shape[1:]))
    real = padding.mask.view(*padding.mask.shape[:2], *(1 for _ in x.shape[2:]))
    count = padding.lengths.view(shape) * x.shape[dims[1]]
    mean = (x * real).sum(dims, keepdim=True) / count
    variance = ((x - mean) * real).square().sum(dims, keepdim=True) / (count - correction)
    return variance, mean


def _stack(conditions: Sequence[EncodedConditions]) -> list[StackedMemory]:
    return _memories([condition.keys_values for condition in conditions])


def _memories(keys_values: Sequence[Tensor]) -> list[StackedMemory]:
    """The memory of each block from the keys and values of each row, (blocks, 2, H, S, d)."""
    lengths = [tensor.shape[-2] for tensor in keys_values]
    longest = max(lengths)
    if min(lengths) == longest:
        return [StackedMemory(block[0], block[1], None) for block in torch.stack(list(keys_values), dim=2)]
    width = -(-longest // STEP) * STEP
    stacked = torch.stack([pad(tensor, (0, 0, 0, width - tensor.shape[-2])) for tensor in keys_values], dim=2)
    positions = torch.arange(width, device=stacked.device)
    padded = positions >= on_device(lengths, stacked.device).unsqueeze(1)
    mask = torch.zeros(padded.shape, dtype=stacked.dtype, device=stacked.device).masked_fill(padded, -torch.inf)
    return [StackedMemory(block[0], block[1], mask[:, None, None]) for block in stacked]
