"""Merged adapters have the effect of applied ones; the checkpoint is whole or absent; the base does not change."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, InputError, StorageError
from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapter_scaling import Scaling
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.model.layout import TRANSFORMER, is_optional
from acestep_flows.model.placement import Placement
from acestep_flows.model.transformer import Transformer
from acestep_flows.training.adapters import merge as merging
from acestep_flows.training.adapters.merge import merge
from tests.model.small import small_checkpoint, small_folder, write_weights
from tests.training.adapters.test_files import adapter


def velocity(transformer: Transformer) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    memory = transformer.encode_condition(torch.randn(3, transformer.config.width, generator=generator), torch.ones(3))
    with torch.no_grad():
        output: Tensor = transformer(torch.randn(1, 8, 16, 6, generator=generator), torch.tensor([500.0]), [memory])
    return output


def test_merged_weights_equal_applied_adapters(tmp_path: Path) -> None:
    first, second = adapter(Scaling(8, True)), adapter(None, rank=2)
    first.save(tmp_path / "first")
    second.save(tmp_path / "second")
    merge(small_checkpoint(), [(tmp_path / "first", 0.05), (tmp_path / "second", -0.02)], tmp_path / "merged")
    base = Transformer.load(small_checkpoint(), Placement())
    merged = Transformer.load(Checkpoint.open(tmp_path / "merged"), Placement())
    expected = velocity(second.apply(first.apply(base, 0.05), -0.02))
    torch.testing.assert_close(velocity(merged), expected, rtol=0.05, atol=0.02)  # weights are stored in bfloat16
    assert (velocity(base) - expected).abs().max() > 0.05


def test_merging_does_not_change_the_base(tmp_path: Path) -> None:
    digest = Checkpoint.open(small_folder()).digest(TRANSFORMER)
    adapter().save(tmp_path / "one")
    merge(small_checkpoint(), [(tmp_path / "one", 1.0)], tmp_path / "merged")
    assert Checkpoint.open(small_folder()).digest(TRANSFORMER) == digest
    assert Checkpoint.open(tmp_path / "merged").digest(TRANSFORMER) != digest


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    adapter().save(tmp_path / "one")
    with pytest.raises(InputError, match="an empty or a new folder"):
        merge(small_checkpoint(), [(tmp_path / "one", 1.0)], tmp_path / "one")


@pytest.mark.parametrize("failing", ["link", "weights"])
def test_an_unfinished_merge_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    adapter().save(tmp_path / "one")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if failing == "link":
        monkeypatch.setattr(os, "link", fail)
        monkeypatch.setattr(shutil, "copy2", fail)
    else:
        monkeypatch.setattr(storage, "write", fail)
    with pytest.raises(StorageError, match="No space left"):
        merge(small_checkpoint(), [(tmp_path / "one", 1.0)], tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_base_of_symbolic_links(tmp_path: Path) -> None:
    """In the hub's cache every file is a relative link to a blob."""
    snapshot, blobs = tmp_path / "hub" / "snapshots" / "main", tmp_path / "hub" / "blobs"
    shutil.copytree(small_folder(), snapshot)
    blobs.mkdir()
    for number, file in enumerate(sorted(path for path in snapshot.rglob("*") if path.is_file())):
        file.rename(blobs / str(number))
        file.symlink_to(os.path.relpath(blobs / str(number), file.parent))
    adapter().save(tmp_path / "one")
    merge(Checkpoint.open(snapshot), [(tmp_path / "one", 1.0)], tmp_path / "merged")
    files = [path for path in (tmp_path / "merged").rglob("*") if not path.is_dir()]
    assert len(files) == len(list(blobs.iterdir()))
    assert not any(file.is_symlink() for file in files)
    Checkpoint.open(tmp_path / "merged").digest(TRANSFORMER)


def test_extras_of_the_base_are_left_out(tmp_path: Path) -> None:
    shutil.copytree(small_folder(), tmp_path / "base")
    adapter().save(tmp_path / "base" / "adapters" / "one")
    (tmp_path / "base" / "README.md").write_text("a card")
    merge(Checkpoint.open(tmp_path / "base"), [(tmp_path / "base" / "adapters" / "one", 1.0)], tmp_path / "merged")
    assert Checkpoint.open(tmp_path / "merged").extras.names("adapters") == []
    assert (tmp_path / "merged" / "README.md").is_file()


def test_layers_that_the_weights_lack_are_named(tmp_path: Path) -> None:
    """Four projections of the layout are used by no network, and a file may lack them."""
    shutil.copytree(small_folder(), tmp_path / "base")
    file = tmp_path / "base" / TRANSFORMER / merging.WEIGHTS
    tensors = load_file(file)
    dead = [name.removesuffix(".weight") for name in tensors if is_optional(name) and tensors[name].ndim == 2]
    write_weights(file, {name: tensor for name, tensor in tensors.items() if not is_optional(name)})
    shapes = {name: tensors[f"{name}.weight"].shape for name in dead if ".cross_attn." in name}
    layers = {name: LowRank(torch.ones(2, shape[1]), torch.ones(shape[0], 2)) for name, shape in shapes.items()}
    Adapter(layers).save(tmp_path / "one")
    with pytest.raises(CheckpointError, match=rf"one: refines .*cross_attn.* and {len(layers) - 1} more, which"):
        merge(Checkpoint.open(tmp_path / "base"), [(tmp_path / "one", 1.0)], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
