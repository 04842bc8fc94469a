"""Adapter files: every format is recognised, and conversion keeps the effect."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor

from acestep_flows.cli.main import cli
from acestep_flows.errors import CheckpointError
from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapter_scaling import Scaling
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.layout import TRANSFORMER, transformer_layout
from acestep_flows.training.adapters.files import Format, describe, folded, write
from tests.model.small import small_checkpoint, small_folder

LAYERS = ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.cross_attn.to_out.0")


def adapter(scaling: Scaling | None = None, rank: int = 4) -> Adapter:
    generator = torch.Generator().manual_seed(rank)
    width = 128
    return Adapter(
        {
            n: LowRank(torch.randn(rank, width, generator=generator), torch.randn(width, rank, generator=generator))
            for n in LAYERS
        },
        scaling,
    )


def effect(adapter: Adapter) -> dict[str, Tensor]:
    """What an adapter adds to each layer's weights."""
    factors = {
        name: adapter.scaling.of(name, layer.rank) if adapter.scaling else 1.0 for name, layer in adapter.layers.items()
    }
    return {name: factors[name] * (layer.up @ layer.down) for name, layer in adapter.layers.items()}


def assert_same(first: Adapter, second: Adapter) -> None:
    expected, actual = effect(first), effect(second)
    assert set(expected) == set(actual)
    for name, product in expected.items():
        torch.testing.assert_close(actual[name], product)


@pytest.mark.parametrize("scaling", [None, Scaling(8), Scaling(8, True), Scaling(8, False, {LAYERS[0]: 3.0})])
def test_conversion_to_peft_and_back(tmp_path: Path, scaling: Scaling | None) -> None:
    original = adapter(scaling)
    write(original, tmp_path / "peft", "peft")
    assert_same(original, Adapter.read(tmp_path / "peft"))
    write(Adapter.read(tmp_path / "peft"), tmp_path / "own", "acestep")
    assert_same(original, Adapter.load(tmp_path / "own", small_checkpoint().config(TRANSFORMER)))


def test_kohya_alphas_become_scaling(tmp_path: Path) -> None:
    original = adapter()
    tensors = {}
    for number, (name, layer) in enumerate(original.layers.items()):
        tensors[f"{name}.lora_down.weight"], tensors[f"{name}.lora_up.weight"] = layer.down, layer.up
        tensors[f"{name}.alpha"] = torch.tensor(2.0 + number)
    save_file(tensors, tmp_path / "kohya.safetensors")
    converted = Adapter.read(tmp_path / "kohya.safetensors")
    assert converted.scaling is not None
    assert [converted.scaling.of(name, 4) for name in LAYERS] == [0.5, 0.75]


@pytest.mark.parametrize("prefix", ["lora_unet_", "lora_transformer_"])
def test_kohya_names_are_mapped_to_layers(tmp_path: Path, prefix: str) -> None:
    """Kohya writes dots as underscores, and layer names have both."""
    config = small_checkpoint().config(TRANSFORMER)
    shapes = {n.removesuffix(".weight"): s for n, s in transformer_layout(config).items() if n.endswith(".weight")}
    linear = {n: s for n, s in shapes.items() if len(s) == 2 and not n.startswith(("lyric_embs", "projectors"))}
    tensors = {}
    for name, (outputs, inputs) in linear.items():
        flat = prefix + name.replace(".", "_")
        tensors[f"{flat}.lora_down.weight"], tensors[f"{flat}.lora_up.weight"] = (
            torch.ones(2, inputs),
            torch.ones(outputs, 2),
        )
        tensors[f"{flat}.alpha"] = torch.tensor(1.0)
    save_file(tensors, tmp_path / "kohya.safetensors")
    converted = Adapter.read(tmp_path / "kohya.safetensors")
    assert set(converted.layers) == set(linear)
    assert {"transformer_blocks.1.cross_attn.to_out.0", "lyric_encoder.encoders.1.self_attn.linear_q"} <= set(
        converted.layers
    )
    write(converted, tmp_path / "own", "acestep")
    Adapter.load(tmp_path / "own", config)


def test_a_kohya_name_without_layer_is_refused(tmp_path: Path) -> None:
    tensors = {f"lora_unet_input_blocks_1_to_q.lora_{end}.weight": torch.ones(2, 2) for end in ("down", "up")}
    save_file(tensors, tmp_path / "kohya.safetensors")
    with pytest.raises(CheckpointError, match="no layer is called lora_unet_input_blocks_1_to_q"):
        Adapter.read(tmp_path / "kohya.safetensors")


@pytest.mark.parametrize("form", ["acestep", "peft"])
@pytest.mark.parametrize("scaling", [None, Scaling(8, True), Scaling(8, False, {LAYERS[0]: 3.0})])
def test_folded_adapters_do_the_same_without_scaling(tmp_path: Path, scaling: Scaling | None, form: Format) -> None:
    original = adapter(scaling)
    write(folded(original), tmp_path, form)
    assert folded(original).scaling is None
    assert_same(original, Adapter.read(tmp_path))
    if form == "acestep":
        assert Adapter.read(tmp_path).scaling is None


def test_an_adapter_stores_the_digest_of_its_base(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config, digest = small_checkpoint().config(TRANSFORMER), small_checkpoint().digest(TRANSFORMER)
    for base in ("", digest, "0" * 64):
        write(replace(adapter(Scaling(8)), base=base), tmp_path / "one", "acestep")
        assert Adapter.read(tmp_path / "one").base == base
        caplog.clear()
        Adapter.load(tmp_path / "one", config, digest)
        assert ("trained on other weights" in caplog.text) is (base == "0" * 64)


def test_diffusers_prefix_and_given_alpha(tmp_path: Path) -> None:
    tensors = {}
    for name, layer in adapter().layers.items():
        tensors[f"transformer.{name}.lora_A.weight"] = layer.down
        tensors[f"transformer.{name}.lora_B.weight"] = layer.up
    save_file(tensors, tmp_path / "d.safetensors")
    assert Adapter.read(tmp_path / "d.safetensors").scaling is None
    assert_same(adapter(Scaling(2.0, True)), Adapter.read(tmp_path / "d.safetensors", 2.0, True))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [({"x.weight": torch.ones(2, 2)}, "x.weight"), ({"x.lora_A.weight": torch.ones(2, 2)}, "one factor only")],
)
def test_a_file_without_adapter_is_refused(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=message):
        Adapter.read(tmp_path / "x.safetensors")


def test_description() -> None:
    description: dict[str, Any] = describe(adapter(Scaling(8, True)))
    assert description["targets"] == {"to_out.0": 1, "to_q": 1}
    assert (description["ranks"], description["factors"], description["parameters"]) == ({"4": 2}, [4.0], 4 * 128 * 4)


def test_commands_take_the_name_of_an_installed_adapter(tmp_path: Path) -> None:
    root = tmp_path / "weights"
    shutil.copytree(small_folder(), root)
    adapter(Scaling(8)).save(root / "adapters" / "velvet")
    runner, weights = CliRunner(), ["--checkpoint", str(root)]
    result = runner.invoke(cli, ["adapter", "inspect", "velvet", *weights])
    assert json.loads(result.output)["layers"] == 2
    merge = ["adapter", "merge", "velvet=0.5", *weights, "--out", str(tmp_path / "m")]
    assert runner.invoke(cli, merge).exit_code == 0
    listed = runner.invoke(cli, ["adapter", "list", *weights])
    assert listed.output.splitlines()[:2] == ["adapters: velvet", "controls: none"]
    as_json = runner.invoke(cli, ["adapter", "list", *weights, "--json"])
    assert json.loads(as_json.output) == {"adapters": ["velvet"], "controls": []}
    absent = runner.invoke(cli, ["adapter", "inspect", "satin", *weights])
    assert absent.exit_code == 3
    assert "no weights for adapter 'satin' (allowed: velvet" in absent.output


def test_commands(tmp_path: Path) -> None:
    adapter(Scaling(8)).save(tmp_path / "one")
    runner = CliRunner()
    result = runner.invoke(cli, ["adapter", "inspect", str(tmp_path / "one"), "--checkpoint", str(small_folder())])
    assert json.loads(result.output)["layers"] == 2
    foldable = ["adapter", "convert", str(tmp_path / "one"), "--fold", "--out", str(tmp_path / "folded")]
    assert runner.invoke(cli, foldable).exit_code == 0
    assert_same(adapter(Scaling(8)), Adapter.read(tmp_path / "folded"))
    converted = runner.invoke(
        cli, ["adapter", "convert", str(tmp_path / "one"), "--to", "peft", "--out", str(tmp_path / "p")]
    )
    assert converted.exit_code == 0, converted.output
    assert_same(adapter(Scaling(8)), Adapter.read(tmp_path / "p"))
    result = runner.invoke(cli, ["adapter", "inspect", str(tmp_path / "p"), "--checkpoint", str(small_folder())])
    assert json.loads(result.output)["factors"] == [2.0]
    arguments = [f"{tmp_path / 'one'}=0.5", "--checkpoint", str(small_folder()), "--out", str(tmp_path / "m")]
    assert runner.invoke(cli, ["adapter", "merge", *arguments]).exit_code == 0
    Checkpoint.open(tmp_path / "m")
