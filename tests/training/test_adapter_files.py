"""Adapters as files: told apart, merged to what applying them gives, and brought over from other formats unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor

from acestep_flows.cli import cli
from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.adapters import Adapter, LowRank, Scaling
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.layout import TRANSFORMER
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from acestep_flows.training.adapter_files import describe, merge, read_foreign, write
from tests.model.small import small_checkpoint, small_folder

LAYERS = ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.cross_attn.to_out.0")


def adapter(scaling: Scaling | None = None, rank: int = 4) -> Adapter:
    draw = torch.Generator().manual_seed(rank)
    width = 128
    return Adapter(
        {
            n: LowRank(torch.randn(rank, width, generator=draw), torch.randn(width, rank, generator=draw))
            for n in LAYERS
        },
        scaling,
    )


def effect(one: Adapter) -> dict[str, Tensor]:
    """What an adapter adds to each layer's weights."""
    factors = {name: one.scaling.of(name, layer.rank) if one.scaling else 1.0 for name, layer in one.layers.items()}
    return {name: factors[name] * (layer.up @ layer.down) for name, layer in one.layers.items()}


def assert_same(one: Adapter, other: Adapter) -> None:
    wanted, found = effect(one), effect(other)
    assert set(wanted) == set(found)
    for name, product in wanted.items():
        torch.testing.assert_close(found[name], product)


def velocity(transformer: Transformer) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    memory = transformer.remember(torch.randn(3, transformer.config.width, generator=draw), torch.ones(3))
    with torch.no_grad():
        found: Tensor = transformer(torch.randn(1, 8, 16, 6, generator=draw), torch.tensor([500.0]), [memory])
    return found


def test_merged_weights_do_what_applied_adapters_do(tmp_path: Path) -> None:
    first, second = adapter(Scaling(8, True)), adapter(None, rank=2)
    first.save(tmp_path / "first")
    second.save(tmp_path / "second")
    merge(small_checkpoint(), [(tmp_path / "first", 0.05), (tmp_path / "second", -0.02)], tmp_path / "merged")
    base = Transformer.load(small_checkpoint(), Placement())
    merged = Transformer.load(Checkpoint.open(tmp_path / "merged"), Placement())
    wanted = velocity(second.apply(first.apply(base, 0.05), -0.02))
    torch.testing.assert_close(velocity(merged), wanted, rtol=0.05, atol=0.02)  # weights are kept in bfloat16
    assert (velocity(base) - wanted).abs().max() > 0.05


def test_merging_leaves_the_base_alone(tmp_path: Path) -> None:
    digest = Checkpoint.open(small_folder()).digest(TRANSFORMER)
    adapter().save(tmp_path / "one")
    merge(small_checkpoint(), [(tmp_path / "one", 1.0)], tmp_path / "merged")
    assert Checkpoint.open(small_folder()).digest(TRANSFORMER) == digest
    assert Checkpoint.open(tmp_path / "merged").digest(TRANSFORMER) != digest


def test_nothing_is_written_over(tmp_path: Path) -> None:
    adapter().save(tmp_path / "one")
    with pytest.raises(InputError, match="an empty or a new folder"):
        merge(small_checkpoint(), [(tmp_path / "one", 1.0)], tmp_path / "one")


@pytest.mark.parametrize("scaling", [None, Scaling(8), Scaling(8, True), Scaling(8, False, {LAYERS[0]: 3.0})])
def test_peft_and_back_again(tmp_path: Path, scaling: Scaling | None) -> None:
    one = adapter(scaling)
    write(one, tmp_path / "peft", "peft")
    assert_same(one, read_foreign(tmp_path / "peft"))
    write(read_foreign(tmp_path / "peft"), tmp_path / "own", "acestep")
    assert_same(one, Adapter.load(tmp_path / "own", small_checkpoint().config(TRANSFORMER)))


def test_kohya_alphas_become_scaling(tmp_path: Path) -> None:
    one = adapter()
    tensors = {}
    for number, (name, layer) in enumerate(one.layers.items()):
        tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"] = layer.down, layer.up
        tensors[f"{name}.alpha"] = torch.tensor(2.0 + number)
    save_file(tensors, tmp_path / "kohya.safetensors")
    found = read_foreign(tmp_path / "kohya.safetensors")
    assert found.scaling is not None
    assert [found.scaling.of(name, 4) for name in LAYERS] == [0.5, 0.75]


def test_diffusers_prefix_and_given_alpha(tmp_path: Path) -> None:
    tensors = {}
    for name, layer in adapter().layers.items():
        tensors[f"transformer.{name}.lora_A.weight"] = layer.down
        tensors[f"transformer.{name}.lora_B.weight"] = layer.up
    save_file(tensors, tmp_path / "d.safetensors")
    assert read_foreign(tmp_path / "d.safetensors").scaling is None
    assert_same(adapter(Scaling(2.0, True)), read_foreign(tmp_path / "d.safetensors", 2.0, True))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [({"x.weight": torch.ones(2, 2)}, "x.weight"), ({"x.lora_A.weight": torch.ones(2, 2)}, "one factor only")],
)
def test_what_is_no_adapter_is_refused(tmp_path: Path, tensors: dict[str, Tensor], said: str) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=said):
        read_foreign(tmp_path / "x.safetensors")


def test_description() -> None:
    told: dict[str, Any] = describe(adapter(Scaling(8, True)))
    assert told["targets"] == {"to_out.0": 1, "to_q": 1}
    assert (told["ranks"], told["factors"], told["parameters"]) == ({"4": 2}, [4.0], 4 * 128 * 4)


def test_commands(tmp_path: Path) -> None:
    adapter(Scaling(8)).save(tmp_path / "one")
    runner = CliRunner()
    shown = runner.invoke(cli, ["adapter", "inspect", str(tmp_path / "one"), "--checkpoint", str(small_folder())])
    assert json.loads(shown.output)["layers"] == 2
    done = runner.invoke(
        cli, ["adapter", "convert", str(tmp_path / "one"), "--to", "peft", "--out", str(tmp_path / "p")]
    )
    assert done.exit_code == 0, done.output
    assert_same(adapter(Scaling(8)), read_foreign(tmp_path / "p"))
    arguments = [f"{tmp_path / 'one'}=0.5", "--checkpoint", str(small_folder()), "--out", str(tmp_path / "m")]
    assert runner.invoke(cli, ["adapter", "merge", *arguments]).exit_code == 0
    Checkpoint.open(tmp_path / "m")
