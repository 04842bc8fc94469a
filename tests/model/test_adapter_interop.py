"""An adapter acts as peft would make it act, and files go both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from torch import nn

from acestep_flows.model.adapters import Adapter, LowRank, Scaling


class Pair(nn.Module):
    """Two linear layers under names that upstream's adapters have."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(12, 8)
        self.to_k = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.to_k(self.to_q(x))
        return out


@pytest.mark.parametrize("use_rslora", [False, True])
def test_the_same_output_as_peft(use_rslora: bool) -> None:
    torch.manual_seed(0)
    plain, x = Pair(), torch.randn(3, 12)
    config = LoraConfig(
        r=4, lora_alpha=6, use_rslora=use_rslora, target_modules=["to_q", "to_k"], init_lora_weights=False
    )
    base = Pair()
    base.load_state_dict(plain.state_dict())
    tuned = get_peft_model(base, config)
    tensors = {
        name.removeprefix("base_model.model."): tensor for name, tensor in get_peft_model_state_dict(tuned).items()
    }
    layers = {
        name: LowRank(tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"]) for name in ("to_q", "to_k")
    }
    ours = Adapter(layers, Scaling(lora_alpha=6, use_rslora=use_rslora)).apply(plain)
    torch.testing.assert_close(ours(x), tuned(x), atol=1e-6, rtol=1e-5)


def test_the_settings_written_are_peft_settings(tmp_path: Path) -> None:
    import json

    from safetensors import safe_open

    layers = {"to_q": LowRank(torch.randn(4, 12), torch.randn(8, 4))}
    file = Adapter(layers, Scaling(lora_alpha=6, use_rslora=True)).save(tmp_path)
    with safe_open(file, framework="pt") as opened:
        settings = json.loads(opened.metadata()["lora_adapter_metadata"])
    config = LoraConfig.from_peft_type(**settings)  # type: ignore[no-untyped-call]
    assert (config.r, config.lora_alpha, config.use_rslora) == (4, 6.0, True)
