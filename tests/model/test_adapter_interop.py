"""An adapter gives the same output as in peft, and diffusers and peft load our files.

Both are imported by the tests: they take seconds, which each process that collects would pay.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapter_scaling import Scaling
from acestep_flows.model.adapters import Adapter
from acestep_flows.training.adapters.files import folded, write


class Pair(nn.Module):
    """Two linear layers with layer names of upstream's adapters."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(12, 8)
        self.to_k = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.to_k(self.to_q(x))
        return out


@pytest.mark.parametrize("use_rslora", [False, True])
def test_the_same_output_as_peft(use_rslora: bool) -> None:
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

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


def test_the_written_metadata_is_a_peft_config(tmp_path: Path) -> None:
    import json

    from peft import LoraConfig
    from safetensors import safe_open

    layers = {"to_q": LowRank(torch.randn(4, 12), torch.randn(8, 4))}
    file = Adapter(layers, Scaling(lora_alpha=6, use_rslora=True)).save(tmp_path)
    with safe_open(file, framework="pt") as opened:
        settings = json.loads(opened.metadata()["lora_adapter_metadata"])
    config = LoraConfig.from_peft_type(**settings)  # type: ignore[no-untyped-call]
    assert (config.r, config.lora_alpha, config.use_rslora) == (4, 6.0, True)


def test_diffusers_loads_our_file(tmp_path: Path) -> None:
    """A scaled adapter brings its scaling in the metadata; a folded adapter needs none."""
    from diffusers.configuration_utils import ConfigMixin
    from diffusers.loaders.peft import PeftAdapterMixin
    from diffusers.models.modeling_utils import ModelMixin

    class Network(ModelMixin, ConfigMixin, PeftAdapterMixin):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.to_q, self.to_k = nn.Linear(12, 8), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.to_k(self.to_q(x))
            return out

    torch.manual_seed(0)
    x = torch.randn(3, 12)
    layers = {
        name: LowRank(torch.randn(4, inputs), torch.randn(outputs, 4))
        for name, inputs, outputs in (("to_q", 12, 8), ("to_k", 8, 4))
    }
    ours = Adapter(layers, Scaling(lora_alpha=6, use_rslora=True), base="0" * 64)
    for name, adapter in (("scaled", ours), ("folded", folded(ours))):
        network = Network()
        expected = ours.apply(network)(x)
        adapter.save(tmp_path / name)
        network.load_lora_adapter(str(tmp_path / name), prefix=None, use_safetensors=True)
        torch.testing.assert_close(network(x), expected, atol=1e-5, rtol=1e-5)


def test_peft_loads_a_folder_in_its_format(tmp_path: Path) -> None:
    from peft import PeftModel

    torch.manual_seed(0)
    plain, x = Pair(), torch.randn(3, 12)
    layers = {
        "to_q": LowRank(torch.randn(4, 12), torch.randn(8, 4)),
        "to_k": LowRank(torch.randn(2, 8), torch.randn(4, 2)),
    }
    ours = Adapter(layers, Scaling(6, True, {"to_k": 3.0}))
    expected = ours.apply(plain)(x)
    write(ours, tmp_path, "peft")
    tuned = PeftModel.from_pretrained(plain, tmp_path)
    torch.testing.assert_close(tuned(x), expected, atol=1e-6, rtol=1e-5)
