"""A packed layer is the plain one up to rounding, and a row of it does not depend on its company."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapters import LoraLinear
from acestep_flows.model.fastest_products import packed_or_none
from acestep_flows.model.packed_linear import PackedLinear, silu_of
from acestep_flows.model.placement import has_fast_bfloat16
from acestep_flows.model.threads import limit_threads

SHAPES = [(512, 512), (1280, 512), (2560, 512), (256, 640), (512, 1280)]
"""Outputs and inputs of the products of two sizes of transformers."""
ROWS = (4, 5, 53, 108, 215, 323, 646, 1000)


def weight_and_bias(outputs: int, inputs: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(outputs + inputs)
    weight = torch.randn(outputs, inputs, generator=draw) / inputs**0.5
    return weight.to(dtype), torch.randn(outputs, generator=draw).to(dtype)


def packed(weight: Tensor, bias: Tensor | None) -> PackedLinear:
    layer = packed_or_none(weight, bias)
    if layer is None:
        pytest.skip("this torch or this processor has no packed products")
    return layer


@pytest.fixture(params=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    if request.param == "bfloat16" and not has_fast_bfloat16("cpu"):
        pytest.skip("this processor has no bfloat16 instructions")
    found: torch.dtype = getattr(torch, request.param)
    return found


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    limit_threads(torch, request.param)
    yield request.param
    limit_threads(torch, before)


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_it_equals_the_plain_layer(outputs: int, inputs: int, dtype: torch.dtype) -> None:
    weight, bias = weight_and_bias(outputs, inputs, dtype)
    x = torch.randn(2, 37, inputs, generator=torch.Generator().manual_seed(1)).to(dtype)
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    for added in (bias, None):
        layer, plain = packed(weight, added), F.linear(x, weight, added)
        assert (layer(x).shape, layer(x).dtype) == (plain.shape, dtype)
        torch.testing.assert_close(layer(x), plain, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(silu_of(layer, x), F.silu(plain), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_a_row_is_the_same_in_any_company(outputs: int, inputs: int, dtype: torch.dtype, threads: int) -> None:
    layer = packed(*weight_and_bias(outputs, inputs, dtype))
    x = torch.randn(max(ROWS), inputs, generator=torch.Generator().manual_seed(2)).to(dtype)
    together, activated = layer(x), layer.silu(x)
    for rows in ROWS:
        assert torch.equal(layer(x[-rows:]), together[-rows:]), (rows, threads)
        assert torch.equal(layer.silu(x[:rows]), activated[:rows]), (rows, threads)


def test_a_row_is_the_same_with_any_number_of_threads(dtype: torch.dtype) -> None:
    before, made = torch.get_num_threads(), []
    layer = packed(*weight_and_bias(512, 1280, dtype))
    x = torch.randn(108, 1280, generator=torch.Generator().manual_seed(3)).to(dtype)
    for count in (1, 2):
        limit_threads(torch, count)
        made.append(layer(x))
    limit_threads(torch, before)
    assert torch.equal(*made)


def test_the_plain_weight_is_given_up() -> None:
    layer = packed(*weight_and_bias(512, 512, torch.float32))
    assert not list(layer.parameters())
    assert layer.weight.numel() == 0
    assert layer.weight.dtype == torch.float32


def test_an_adapter_adds_to_it_as_to_the_plain_layer() -> None:
    weight, bias = weight_and_bias(512, 512, torch.float32)
    draw = torch.Generator().manual_seed(4)
    update = LowRank(torch.randn(4, 512, generator=draw), torch.randn(512, 4, generator=draw))
    x = torch.randn(9, 512, generator=draw)
    adapted = LoraLinear(packed(weight, bias), update, 0.01)
    torch.testing.assert_close(
        adapted(x), F.linear(x, weight + 0.01 * update.up @ update.down, bias), atol=1e-4, rtol=0
    )
