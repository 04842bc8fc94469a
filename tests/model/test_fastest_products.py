"""Who makes the large products: as measured or as said, and nothing that a network does depends on it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from acestep_flows.errors import InputError
from acestep_flows.model import fastest_products, kept_choice
from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.config import TransformerConfig
from acestep_flows.model.fastest_products import (
    ProductRates,
    library_for,
    packed_or_none,
    product_rates,
    use_fastest_products,
)
from acestep_flows.model.large_products import replace_large_products
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.model.packed_linear import PackedLinear
from acestep_flows.model.placement import Placement, has_fast_bfloat16
from acestep_flows.model.transformer import Transformer
from tests.model.small import small_checkpoint

ONEDNN, TORCH = Placement(products="onednn"), Placement(products="torch")
BF16 = Placement(dtype="bfloat16", products="onednn")
LARGE = 8
"""Large products of a block."""


@pytest.fixture(autouse=True)
def own_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the suite makes all products one way."""
    monkeypatch.setattr(kept_choice, "_choices", kept_choice._Choices())


@pytest.fixture(autouse=True)
def has_packed_products() -> None:
    if packed_or_none(torch.zeros(16, 16), None) is None:
        pytest.skip("this torch or this processor has no packed products")


@cache
def config() -> TransformerConfig:
    """Of the width of acestep-nano, with two blocks."""
    small = TransformerConfig.from_json(small_checkpoint().config(TRANSFORMER))
    return replace(small, num_layers=2, num_attention_heads=8, attention_head_dim=32, erg_blocks=(1, 1))


def network(placement: Placement) -> Transformer:
    torch.manual_seed(0)
    made = Transformer(config()).eval().requires_grad_(False).to(getattr(torch, placement.dtype))
    use_fastest_products(made.blocks, placement)
    return made


def packed_layers(model: nn.Module) -> int:
    return sum(isinstance(module, PackedLinear) for module in model.modules())


@torch.inference_mode()
def velocity(model: Transformer, frames: tuple[int, ...] = (40, 23, 31)) -> Tensor:
    """Of three songs of unequal length, one with ERG, two with control."""
    draw = torch.Generator().manual_seed(5)
    rows, width = len(frames), model.config.width
    conditions = [
        model.encode_condition(torch.randn(tokens, width, generator=draw), torch.ones(tokens)) for tokens in (5, 9, 7)
    ]
    control = torch.randn(rows, max(frames), width, generator=draw)
    control[0] = 0
    made: Tensor = model(
        torch.randn(rows, 8, 16, max(frames), generator=draw),
        torch.tensor([900.0, 500.0, 30.0]),
        conditions,
        frames=frames,
        erg_temperature=[1.0, 0.01, 1.0],
        control=control,
        control_scale=0.5,
    )
    return torch.cat([row[..., :count].flatten() for row, count in zip(made, frames, strict=True)])


def test_a_packed_network_equals_the_plain_one() -> None:
    plain, packed = network(TORCH), network(ONEDNN)
    assert (packed_layers(plain), packed_layers(packed)) == (0, LARGE * len(packed.blocks))
    torch.testing.assert_close(velocity(packed), velocity(plain), atol=1e-5, rtol=1e-5)


def test_in_bfloat16_it_is_as_near_to_float32_as_the_plain_one() -> None:
    if not has_fast_bfloat16("cpu"):
        pytest.skip("this processor has no bfloat16 instructions")
    exact, plain, packed = (velocity(network(place)) for place in (TORCH, replace(BF16, products="torch"), BF16))
    errors = [float((made - exact).norm() / exact.norm()) for made in (plain, packed)]
    assert errors[1] < 1.1 * errors[0] < 0.05


def test_adapters_apply_to_a_packed_network_and_leave_it_as_it_was() -> None:
    width, draw = config().width, torch.Generator().manual_seed(6)
    layers = {
        name: LowRank(torch.randn(2, width, generator=draw) / width, torch.randn(width, 2, generator=draw))
        for name in ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.cross_attn.to_out.0")
    }
    adapter, plain, packed = Adapter(layers), network(TORCH), network(ONEDNN)
    before = velocity(packed)
    adapted = adapter.apply(packed, 0.7)
    torch.testing.assert_close(velocity(adapted), velocity(adapter.apply(plain, 0.7)), atol=1e-5, rtol=1e-5)
    assert packed_layers(adapted) == LARGE * len(packed.blocks)
    assert torch.equal(velocity(packed), before)
    assert not torch.allclose(velocity(adapted), before)


def test_plain_weights_of_packed_layers_are_gone() -> None:
    plain, packed = network(TORCH), network(ONEDNN)
    large = sum(
        layer.weight.numel() for block in plain.blocks for name, layer in block.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv1d) and "depth_conv" not in name
        and name not in ("cross_attn.to_k", "cross_attn.to_v")
    )  # fmt: skip
    numbers = [sum(parameter.numel() for parameter in model.parameters()) for model in (plain, packed)]
    biases = sum(
        module.bias.numel()
        for module in packed.modules()
        if isinstance(module, PackedLinear) and module.bias is not None
    )
    assert numbers[1] == numbers[0] - large - biases


@pytest.mark.parametrize(
    ("placement", "rates", "library"),
    [
        (Placement(), ProductRates(100.0, 240.0), "onednn"),
        (Placement(), ProductRates(100.0, 116.0), "onednn"),
        (Placement(), ProductRates(100.0, 114.0), "torch"),
        (Placement(), ProductRates(100.0), "torch"),
        (TORCH, ProductRates(100.0, 240.0), "torch"),
        (ONEDNN, ProductRates(100.0, 50.0), "onednn"),
        (replace(ONEDNN, compile=True), ProductRates(100.0, 240.0), "torch"),
        (Placement("cuda", "bfloat16", products="onednn"), ProductRates(100.0, 240.0), "torch"),
        (Placement("mps"), ProductRates(100.0, 240.0), "torch"),
    ],
)
def test_the_faster_one_by_a_clear_margin_is_chosen_unless_one_is_named(
    placement: Placement, rates: ProductRates, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fastest_products, "product_rates", lambda dtype: rates)
    assert library_for(placement) == library


@pytest.mark.parametrize(("fast", "library"), [(True, "onednn"), (False, "torch")])
def test_bfloat16_is_packed_wherever_it_is_fast(fast: bool, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest_products, "has_fast_bfloat16", lambda device: fast)
    monkeypatch.setattr(fastest_products, "packed_or_none", lambda weight, bias: weight)
    assert library_for(Placement(dtype="bfloat16")) == library
    assert library_for(Placement(dtype="bfloat16", products="torch")) == "torch"


def test_both_ways_are_timed_once_and_leave_threads_and_randomness_as_they_were() -> None:
    product_rates.cache_clear()
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    rates = product_rates(torch.float32)
    assert rates.torch > 1e8
    assert rates.onednn > 1e8
    assert product_rates(torch.float32) is rates
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_a_torch_without_packed_products_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastest_products, "packed_or_none", lambda weight, bias: None)
    product_rates.cache_clear()
    assert product_rates(torch.float32).onednn == 0
    product_rates.cache_clear()
    assert library_for(Placement()) == "torch"
    with pytest.raises(InputError, match="products: this torch has no packed products in float32.*auto, torch"):
        library_for(ONEDNN)
    product_rates.cache_clear()


def test_products_whose_sums_threads_would_share_stay_as_they_are() -> None:
    model = network(TORCH)
    kept: list[tuple[int, int]] = []

    def make(weight: Tensor, bias: Tensor | None) -> nn.Module | None:
        layer = fastest_products.packed_in_order(weight, bias)
        if layer is None:
            kept.append((weight.shape[0], weight.shape[1]))
        return layer

    replace_large_products(model.blocks, make)
    assert kept == []
    assert fastest_products.packed_in_order(torch.zeros(64, 4096), None) is None
    assert fastest_products.packed_in_order(torch.zeros(64, 64), None) is None


def test_a_placement_takes_what_the_environment_says_only_where_it_says_nothing() -> None:
    assert Placement().with_products("torch").products == "torch"
    assert ONEDNN.with_products("torch") == ONEDNN
    assert {Placement(products=each).numerics for each in ("auto", "torch", "onednn")} == {"cpu-float32"}
