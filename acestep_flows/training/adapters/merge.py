"""Merge adapters into a checkpoint's weights. The new checkpoint works like the old one with the adapters applied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, InputError, StorageError
from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapters import Adapter
from acestep_flows.model.checkpoint import PARTS, Checkpoint, weights_file
from acestep_flows.model.layout import TRANSFORMER

WEIGHTS = weights_file(TRANSFORMER)


def merge(checkpoint: Checkpoint, adapters: Sequence[tuple[Path, float]], out: Path) -> None:
    """Write a checkpoint whose transformer weights include `adapters`, each multiplied by its weight.

    The other parts are hard links, or copies where the file system has no links. The checkpoint's `adapters/` and
    `controls/` are left out, as they were trained on its weights and not on the new ones. `out` appears once it is
    whole.

    Raises:
        InputError: `out` exists and is not an empty folder.
        CheckpointError: an adapter is for another model, or the weights cannot be read. An adapter for other weights of
            the same model only causes a warning.
        StorageError: `out` cannot be written to.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("the folder is not empty", where=str(out), allowed="an empty or a new folder")
    config, digest = checkpoint.config(TRANSFORMER), checkpoint.digest(TRANSFORMER)
    loaded = [(Adapter.load(path, config, digest), path, weight) for path, weight in adapters]
    tensors = _weights(checkpoint)
    for adapter, path, weight in loaded:
        if absent := [name for name in adapter.layers if f"{name}.weight" not in tensors]:
            more = f" and {len(absent) - 1} more" if absent[1:] else ""
            what = f"refines {absent[0]}{more}, which the checkpoint's weights lack"
            raise CheckpointError(what, where=str(path), allowed="layers that the checkpoint has")
        for name, layer in adapter.layers.items():
            base = tensors[f"{name}.weight"]
            tensors[f"{name}.weight"] = (base.float() + weight * _product(adapter, name, layer)).to(base.dtype)
    try:
        merged = save(tensors, metadata={"format": "pt"})
    except SafetensorError as error:
        raise StorageError(f"{out}: cannot be written: {error}") from None
    with storage.new_folder(out) as unfinished:
        for source, relative in _other_files(checkpoint):
            (unfinished / relative).parent.mkdir(exist_ok=True)
            _link_or_copy(source, unfinished / relative)
        storage.write(unfinished / TRANSFORMER / WEIGHTS, merged)


def _weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """All tensors of the transformer's weights file, in their stored dtypes."""
    file = checkpoint.file(TRANSFORMER, WEIGHTS)
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(file)) from None


def _other_files(checkpoint: Checkpoint) -> Iterator[tuple[Path, Path]]:
    """All files but the transformer's weights, `adapters/` and `controls/`, each with its path in the checkpoint."""
    for folder in (checkpoint.root, *(checkpoint.root / part for part in PARTS)):
        for file in folder.iterdir():
            name = file.relative_to(checkpoint.root)
            if file.is_file() and name != Path(TRANSFORMER) / WEIGHTS:
                yield file, name


def _product(adapter: Adapter, name: str, layer: LowRank) -> Tensor:
    """The weight difference of a layer, (outputs, inputs) in float32."""
    factor = adapter.scaling.of(name, layer.rank) if adapter.scaling else 1.0
    return factor * (layer.up.float() @ layer.down.float())


def _link_or_copy(source: Path, target: Path) -> None:
    # Files of the hub's cache are relative symbolic links. A hard link to such a link would point nowhere.
    real = source.resolve()
    try:
        os.link(real, target)
    except OSError:
        shutil.copy2(real, target)
