"""Both forms of softmax attention give the same, and only bfloat16 takes the one with two products."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acestep_flows.model import processor_attention
from acestep_flows.model.processor_attention import attend

FRAMES, CONDITION, HEADS, CHANNELS, SCALE = 37, 11, 4, 16, 0.2


def operands(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (T, H, d), keys and values (H, S, d)."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((FRAMES, HEADS, CHANNELS), (HEADS, CONDITION, CHANNELS), (HEADS, CONDITION, CHANNELS))
    q, k, v = (torch.randn(shape, generator=draw).to(dtype) for shape in shapes)
    return q, k, v


def expected(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (tensor.double() for tensor in (q, k, v))
    weights = (SCALE * torch.einsum("thd,hsd->hts", q, k)).softmax(-1)
    return torch.einsum("hts,hsd->thd", weights, v).flatten(1)


@pytest.mark.parametrize("apart", [False, True])
def test_both_forms_are_softmax_attention(apart: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_attention, "_is_apart", lambda: apart)
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.bfloat16, 0.03)):
        made = attend(*operands(dtype), SCALE)
        assert (made.shape, made.dtype) == ((FRAMES, HEADS * CHANNELS), dtype)
        torch.testing.assert_close(made.double(), expected(*operands(dtype)), atol=tolerance, rtol=tolerance)


def test_fp32_always_takes_the_fused_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor_attention, "_is_apart", lambda: True)
    q, k, v = operands(torch.float32)
    fused = F.scaled_dot_product_attention(q.transpose(0, 1)[None], k[None], v[None], scale=SCALE)[0]
    assert torch.equal(attend(q, k, v, SCALE), fused.transpose(0, 1).flatten(1))


def test_the_choice_is_made_once_and_draws_nothing() -> None:
    before = torch.random.get_rng_state()
    processor_attention._faster.cache_clear()
    assert processor_attention._faster() is processor_attention._faster()
    assert torch.equal(torch.random.get_rng_state(), before)
