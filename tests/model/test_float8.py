"""Products in fp8: how coarse they are, whom they touch, and where they are refused. A CPU makes them, too, slowly."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from acestep_flows.errors import InputError
from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapters import Adapter, LoraLinear
from acestep_flows.model.float8 import Float8Linear, rounded, use_float8
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from tests.model.small import small_checkpoint


def test_a_layer_errs_by_a_few_percent() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 32).to(torch.bfloat16), torch.randn(3, 5, 64).to(torch.bfloat16)
    got, want = Float8Linear(layer.weight, layer.bias)(x), layer(x)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    assert 0.005 < (got - want).norm() / want.norm() < 0.06


def test_a_token_is_rounded_in_the_same_way_in_any_company() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(64, 32), torch.randn(4, 64)
    together = Float8Linear(layer.weight, layer.bias)(torch.cat((x, 1000 * x)))[:4]
    assert torch.equal(together, Float8Linear(layer.weight, layer.bias)(x))


@pytest.mark.parametrize("value", [0.0, 1e-30, 3e4])
def test_extreme_rows_stay_finite(value: float) -> None:
    content, scale = rounded(torch.full((2, 16), value))
    torch.testing.assert_close(content.float() * scale, torch.full((2, 16), value), atol=1e-6, rtol=0.1)


@torch.inference_mode()
def test_the_network_in_fp8_stays_near_itself() -> None:
    plain, coarse = (Transformer.load(small_checkpoint(), Placement(dtype="bfloat16")) for _ in range(2))
    use_float8(coarse.blocks)
    assert sum(isinstance(module, Float8Linear) for module in coarse.modules()) == 8 * len(coarse.blocks)
    draw = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 8, 16, 20, generator=draw)
    condition = torch.randn(7, plain.config.width, generator=draw)
    conditions = [plain.encode_condition(condition, torch.ones(7))] * 2
    want, got = (model(latents, torch.tensor([900.0, 50.0]), conditions) for model in (plain, coarse))
    assert 0.001 < (got - want).norm() / want.norm() < 0.2


def test_adapters_apply_to_layers_in_fp8() -> None:
    coarse = Transformer.load(small_checkpoint(), Placement(dtype="bfloat16"))
    use_float8(coarse.blocks)
    width = coarse.config.width
    adapter = Adapter({"transformer_blocks.1.attn.to_q": LowRank(torch.ones(2, width), torch.ones(width, 2))})
    layer = adapter.apply(coarse).blocks[1].attn.to_q
    assert isinstance(layer, LoraLinear)
    x = torch.randn(3, width).to(torch.bfloat16)
    update = (x.sum(-1, keepdim=True) * 2).expand(3, width)
    torch.testing.assert_close(layer(x) - coarse.blocks[1].attn.to_q(x), update, atol=0.5, rtol=0.05)


def test_devices_without_it_refuse() -> None:
    with pytest.raises(InputError, match="fp8: cpu has no fp8 products on this machine.*compute capability 8.9"):
        Transformer.load(small_checkpoint(), Placement(fp8=True))
    assert Placement("cuda", "bfloat16", fp8=True).numerics == "cuda-bfloat16-fp8"
    assert Placement("cuda", "bfloat16").numerics == "cuda-bfloat16"
