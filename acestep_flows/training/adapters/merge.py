"""Adapters worked into a checkpoint's weights: a new checkpoint that plays as the old one does with them applied."""

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
from acestep_flows.model.adapters import Adapter, LowRank
from acestep_flows.model.checkpoint import PARTS, Checkpoint, weights_file
from acestep_flows.model.layout import TRANSFORMER

WEIGHTS = weights_file(TRANSFORMER)


def merge(checkpoint: Checkpoint, adapters: Sequence[tuple[Path, float]], out: Path) -> None:
    """Write a checkpoint whose transformer has `adapters`, each with its weight, worked into its weights.

    The other parts are linked, or copied where the file system cannot. What lies in the checkpoint's `adapters/` and
    `controls/` was trained on its weights and not on the new ones: it does not come along. `out` is there once it is
    whole.

    Raises:
        InputError: `out` is not an empty folder.
        CheckpointError: an adapter is for another model (for other weights of it there is a warning), or the weights
            cannot be read.
        StorageError: `out` cannot be written to.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("there is something", where=str(out), allowed="an empty or a new folder")
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
        for source, place in _kept(checkpoint):
            (unfinished / place).parent.mkdir(exist_ok=True)
            _link_or_copy(source, unfinished / place)
        storage.write(unfinished / TRANSFORMER / WEIGHTS, merged)


def _weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """All tensors of the transformer's file, as they stand there."""
    file = checkpoint.file(TRANSFORMER, WEIGHTS)
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(file)) from None


def _kept(checkpoint: Checkpoint) -> Iterator[tuple[Path, Path]]:
    """Files that stay as they are, and their names in a checkpoint: those of the parts, and what lies beside these."""
    for folder in (checkpoint.root, *(checkpoint.root / part for part in PARTS)):
        for file in folder.iterdir():
            name = file.relative_to(checkpoint.root)
            if file.is_file() and name != Path(TRANSFORMER) / WEIGHTS:
                yield file, name


def _product(adapter: Adapter, name: str, layer: LowRank) -> Tensor:
    factor = adapter.scaling.of(name, layer.rank) if adapter.scaling else 1.0
    return factor * (layer.up.float() @ layer.down.float())


def _link_or_copy(source: Path, target: Path) -> None:
    # In the hub's cache files are symbolic links, and relative ones: a second name of such a link leads nowhere.
    real = source.resolve()
    try:
        os.link(real, target)
    except OSError:
        shutil.copy2(real, target)
