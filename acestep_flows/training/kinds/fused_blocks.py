"""The elementwise parts of a block with their derivatives written out: on a processor they cost more than its products.

Left to automatic differentiation, an attention of this model is some hundred passes over its activations. Written out
it is a third of that. Each function states what it computes; tests hold value and derivative against the plain form.

Queries and keys come with the channels of each head in another order, the even ones first ("halves"): the rotation of
spec 01 section 5.4, which pairs neighbouring channels, then works on whole runs of memory. A product of queries and
keys does not mind, as both are reordered alike.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor

from acestep_flows.model.patch import EPSILON
from acestep_flows.model.rope import Rotation


class HalfRotation(NamedTuple):
    """A rotation for channels in halves: cos (..., L, d), and for each half the sine its partner enters with."""

    cos: Tensor
    even: Tensor
    odd: Tensor

    @classmethod
    def of(cls, by: Rotation) -> HalfRotation:
        """From factors (..., L, 1, d) in the published order."""
        cos, sin = by.cos.squeeze(-2), by.sin.squeeze(-2)
        return cls(torch.cat((cos[..., 0::2], cos[..., 1::2]), dim=-1), sin[..., 0::2], sin[..., 1::2])

    def per_head(self) -> HalfRotation:
        """For rows that differ: (B, L, d) to (B, 1, L, d)."""
        return HalfRotation(*(table.unsqueeze(1) for table in self))

    @property
    def back(self) -> HalfRotation:
        """The transpose, which derivatives go through."""
        return HalfRotation(self.cos, self.odd, self.even)


def turned(x: Tensor, by: HalfRotation) -> Tensor:
    """x (..., L, d) in halves, rotated."""
    half = x.shape[-1] // 2
    y = x * by.cos
    y[..., :half].addcmul_(x[..., half:], by.even)
    y[..., half:].addcmul_(x[..., :half], by.odd)
    return y


def halves(weight: Tensor, heads: int) -> Tensor:
    """Rows of a projection (H d, ...) with those of each head's even channels first."""
    split: Tensor = weight.unflatten(0, (heads, -1, 2))
    return split.transpose(1, 2).flatten(0, 2)


def plain_derivative(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A derivative that is itself not derived, and that computes in the dtypes it says."""

    @wraps(backward)
    def run(ctx: Any, grad: Tensor) -> Any:
        with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
            return backward(ctx, grad)

    return run


def output_dtype(x: Tensor) -> torch.dtype:
    """The dtype that products are made in."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class Modulate(torch.autograd.Function):
    """rms_norm(x) * (1 + scale) + shift; x (B, T, D), shift and scale (B, 1, D)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        root = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPSILON)
        normed = x * root
        gain = 1 + scale
        ctx.save_for_backward(normed, root, gain)
        return torch.addcmul(shift, normed, gain).to(output_dtype(x))

    @staticmethod
    @plain_derivative
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        normed, root, gain = ctx.saved_tensors
        g = grad.to(normed.dtype)
        of_shift = g.sum(dim=1, keepdim=True)
        product = g * normed
        of_scale = product.sum(dim=1, keepdim=True)
        mean = product.mul_(gain).mean(dim=-1, keepdim=True)
        of_x = (g * gain).addcmul_(normed, mean, value=-1).mul_(root)
        return of_x, of_shift, of_scale


class LinearAttention(torch.autograd.Function):
    """Linear attention with a ReLU feature map, in fp32 (spec 01 section 5.3).

    qkv (B, T, 3 D), queries and keys in halves and not rotated; real (B, 1, T, 1) is 1 on real frames, or None;
    gives (B, T, D).
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, by: HalfRotation, real: Tensor | None, heads: int) -> Tensor:
        with torch.autocast(qkv.device.type, enabled=False):
            split = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, H, T, d)
            x = torch.empty(split.shape, dtype=torch.float32, device=qkv.device).copy_(split)
            queries_keys = turned(x[:2], by).relu_()
            if real is not None:
                queries_keys[1].mul_(real)
            q, k, v = queries_keys[0], queries_keys[1], x[2].clone()
            memory = k.mT @ v  # (B, H, d, d)
            total = k.sum(dim=-2).unsqueeze(-1)  # (B, H, d, 1)
            weight = (q @ total).add_(1e-15)
            y = (q @ memory).div_(weight)
        ctx.by, ctx.dtype = by, qkv.dtype
        ctx.save_for_backward(queries_keys, v, memory, total, weight, y)
        return y.transpose(1, 2).to(output_dtype(qkv)).flatten(2)

    @staticmethod
    @plain_derivative
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        queries_keys, v, memory, total, weight, y = ctx.saved_tensors
        q, k = queries_keys
        heads, width = y.shape[1], y.shape[-1]
        g = grad.unflatten(-1, (heads, width)).transpose(1, 2).float()
        g = g / weight
        of_weight = (g * y).sum(dim=-1, keepdim=True).neg_()
        of_memory = q.mT @ g
        of_total = q.mT @ of_weight  # (B, H, d, 1)
        out = torch.empty((3, *y.shape), dtype=torch.float32, device=y.device)
        torch.matmul(g, memory.mT, out=out[0]).addcmul_(of_weight, total.mT)
        torch.matmul(v, of_memory.mT, out=out[1]).add_(of_total.mT)
        torch.matmul(k, of_memory, out=out[2])
        rotated = out[:2].mul_(queries_keys > 0)  # also forgets masked keys, which are zero
        out[:2] = turned(rotated, ctx.by.back)
        return out.permute(1, 3, 0, 2, 4).to(ctx.dtype).flatten(2), None, None, None


class MemoryAttention(torch.autograd.Function):
    """Softmax attention of frames over condition tokens (spec 01 section 5.3).

    q (B, T, D) and kv (B, S, 2 D), queries and keys in halves and not rotated; heard (B, 1, 1, S) is True where there
    is a token; gives (B, T, D).
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, kv: Tensor, by: HalfRotation, key_by: HalfRotation, heard: Tensor, heads: int
    ) -> Tensor:
        dtype = q.dtype
        factor = (q.shape[-1] // heads) ** -0.5
        q = q.unflatten(-1, (heads, -1)).transpose(1, 2).float()
        k, v = kv.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
        q = turned(q, by).mul_(factor).to(dtype)
        k = turned(k.float(), key_by).to(dtype)
        v = v.contiguous()
        with torch.autocast(q.device.type, enabled=False):
            shares = (q @ k.mT).float().masked_fill_(~heard, -torch.inf).softmax(dim=-1).to(dtype)
            y: Tensor = shares @ v
        ctx.by, ctx.key_by, ctx.factor = by, key_by, factor
        ctx.save_for_backward(q, k, v, shares)
        return y.transpose(1, 2).flatten(2)

    @staticmethod
    @plain_derivative
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        q, k, v, shares = ctx.saved_tensors
        dtype, heads = q.dtype, q.shape[1]
        g = grad.unflatten(-1, (heads, -1)).transpose(1, 2).contiguous()
        of_shares = (g @ v.mT).float()
        of_scores = torch._softmax_backward_data(of_shares, shares.float(), -1, torch.float32).to(dtype)
        of_q = turned((of_scores @ k).float(), ctx.by.back).mul_(ctx.factor)
        of_k = turned((of_scores.mT @ q).float(), ctx.key_by.back)
        of_kv = torch.stack((of_k.to(dtype), shares.mT @ g))  # (2, B, H, S, d)
        return (
            of_q.transpose(1, 2).to(dtype).flatten(2),
            of_kv.permute(1, 3, 0, 2, 4).flatten(2),
            None,
            None,
            None,
            None,
        )
