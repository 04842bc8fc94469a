"""Attention and modulation with hand-written gradients. On a CPU their elementwise parts cost more than the products.

With automatic differentiation, one attention of this model makes about a hundred passes over its activations. With the
gradients written by hand it makes a third of that. Tests compare values and gradients with the plain form.

The channels of each head of queries and keys come in another order, the even ones first ("halves"). Then the rotation
of spec 01 section 5.4, which pairs neighbouring channels, works on contiguous memory. The product of queries and keys
is the same, as both are reordered in the same way.
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
    """A rotation for channels in halves: cos (..., L, d), and the sines (..., L, d / 2) that mix in the other half."""

    cos: Tensor
    even: Tensor
    odd: Tensor

    @classmethod
    def of(cls, rope: Rotation) -> HalfRotation:
        """Reorder factors (..., L, 1, d) in the published order."""
        cos, sin = rope.cos.squeeze(-2), rope.sin.squeeze(-2)
        return cls(torch.cat((cos[..., 0::2], cos[..., 1::2]), dim=-1), sin[..., 0::2], sin[..., 1::2])

    def per_head(self) -> HalfRotation:
        """Factors of each row (B, L, d), broadcast over heads as (B, 1, L, d)."""
        return HalfRotation(*(table.unsqueeze(1) for table in self))

    @property
    def transpose(self) -> HalfRotation:
        """The transposed rotation, which gradients go through."""
        return HalfRotation(self.cos, self.odd, self.even)


def rotate(x: Tensor, rope: HalfRotation) -> Tensor:
    """Rotate x (..., L, d), whose channels are in halves."""
    half = x.shape[-1] // 2
    y = x * rope.cos
    y[..., :half].addcmul_(x[..., half:], rope.even)
    y[..., half:].addcmul_(x[..., :half], rope.odd)
    return y


def halves(weight: Tensor, heads: int) -> Tensor:
    """Reorder the rows of a projection (H d, ...) so that each head's even channels come first."""
    split: Tensor = weight.unflatten(0, (heads, -1, 2))
    return split.transpose(1, 2).flatten(0, 2)


def plain_derivative(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a backward pass that is itself not differentiated. Autocast is off, so it computes in its own dtypes."""

    @wraps(backward)
    def run(ctx: Any, grad: Tensor) -> Any:
        with torch.no_grad(), torch.autocast(grad.device.type, enabled=False):
            return backward(ctx, grad)

    return run


def output_dtype(x: Tensor) -> torch.dtype:
    """The dtype of matrix products: autocast's where it is on, else that of `x`."""
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
        grad_fp32 = grad.to(normed.dtype)
        grad_shift = grad_fp32.sum(dim=1, keepdim=True)
        product = grad_fp32 * normed
        grad_scale = product.sum(dim=1, keepdim=True)
        mean = product.mul_(gain).mean(dim=-1, keepdim=True)
        grad_x = (grad_fp32 * gain).addcmul_(normed, mean, value=-1).mul_(root)
        return grad_x, grad_shift, grad_scale


class LinearAttention(torch.autograd.Function):
    """Linear attention with a ReLU feature map, in fp32 (spec 01 section 5.3).

    qkv is (B, T, 3 D), with queries and keys in halves and not yet rotated. real (B, 1, T, 1) is 1 on real frames, or
    None. Returns (B, T, D).
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, rope: HalfRotation, real: Tensor | None, heads: int) -> Tensor:
        with torch.autocast(qkv.device.type, enabled=False):
            split = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # (3, B, H, T, d)
            x = torch.empty(split.shape, dtype=torch.float32, device=qkv.device).copy_(split)
            queries_keys = rotate(x[:2], rope).relu_()
            if real is not None:
                queries_keys[1].mul_(real)
            q, k, v = queries_keys[0], queries_keys[1], x[2].clone()
            memory = k.mT @ v  # (B, H, d, d)
            total = k.sum(dim=-2).unsqueeze(-1)  # (B, H, d, 1)
            weight = (q @ total).add_(1e-15)
            y = (q @ memory).div_(weight)
        ctx.rope, ctx.dtype = rope, qkv.dtype
        ctx.save_for_backward(queries_keys, v, memory, total, weight, y)
        return y.transpose(1, 2).to(output_dtype(qkv)).flatten(2)

    @staticmethod
    @plain_derivative
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        queries_keys, v, memory, total, weight, y = ctx.saved_tensors
        q, k = queries_keys
        heads, width = y.shape[1], y.shape[-1]
        scaled_grad = grad.unflatten(-1, (heads, width)).transpose(1, 2).float()
        scaled_grad = scaled_grad / weight
        grad_weight = (scaled_grad * y).sum(dim=-1, keepdim=True).neg_()
        grad_memory = q.mT @ scaled_grad
        grad_total = q.mT @ grad_weight  # (B, H, d, 1)
        out = torch.empty((3, *y.shape), dtype=torch.float32, device=y.device)
        torch.matmul(scaled_grad, memory.mT, out=out[0]).addcmul_(grad_weight, total.mT)
        torch.matmul(v, grad_memory.mT, out=out[1]).add_(grad_total.mT)
        torch.matmul(k, grad_memory, out=out[2])
        rotated = out[:2].mul_(queries_keys > 0)  # also zero for masked keys, as these are zero
        out[:2] = rotate(rotated, ctx.rope.transpose)
        return out.permute(1, 3, 0, 2, 4).to(ctx.dtype).flatten(2), None, None, None


class MemoryAttention(torch.autograd.Function):
    """Softmax attention of frames over condition tokens (spec 01 section 5.3).

    q is (B, T, D) and kv (B, S, 2 D), with queries and keys in halves and not yet rotated. mask (B, 1, 1, S) is True on
    tokens. Returns (B, T, D).
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, kv: Tensor, rope: HalfRotation, key_rope: HalfRotation, mask: Tensor, heads: int
    ) -> Tensor:
        dtype = q.dtype
        factor = (q.shape[-1] // heads) ** -0.5
        q = q.unflatten(-1, (heads, -1)).transpose(1, 2).float()
        k, v = kv.unflatten(-1, (2, heads, -1)).permute(2, 0, 3, 1, 4)
        q = rotate(q, rope).mul_(factor).to(dtype)
        k = rotate(k.float(), key_rope).to(dtype)
        v = v.contiguous()
        with torch.autocast(q.device.type, enabled=False):
            shares = (q @ k.mT).float().masked_fill_(~mask, -torch.inf).softmax(dim=-1).to(dtype)
            y: Tensor = shares @ v
        ctx.rope, ctx.key_rope, ctx.factor = rope, key_rope, factor
        ctx.save_for_backward(q, k, v, shares)
        return y.transpose(1, 2).flatten(2)

    @staticmethod
    @plain_derivative
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        q, k, v, shares = ctx.saved_tensors
        dtype, heads = q.dtype, q.shape[1]
        grad_heads = grad.unflatten(-1, (heads, -1)).transpose(1, 2).contiguous()
        grad_shares = (grad_heads @ v.mT).float()
        grad_scores = torch._softmax_backward_data(grad_shares, shares.float(), -1, torch.float32).to(dtype)
        grad_q = rotate((grad_scores @ k).float(), ctx.rope.transpose).mul_(ctx.factor)
        grad_k = rotate((grad_scores.mT @ q).float(), ctx.key_rope.transpose)
        grad_kv = torch.stack((grad_k.to(dtype), shares.mT @ grad_heads))  # (2, B, H, S, d)
        return (
            grad_q.transpose(1, 2).to(dtype).flatten(2),
            grad_kv.permute(1, 3, 0, 2, 4).flatten(2),
            None,
            None,
            None,
            None,
        )
