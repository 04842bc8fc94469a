"""A small random checkpoint, written once per test run, and functions that change copies of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.testing.random_checkpoint import SMALL, write_random_checkpoint

_FOLDERS: list[TemporaryDirectory[str]] = []


@cache
def small_folder() -> Path:
    """The folder of the checkpoint. Tests that write must copy it."""
    _FOLDERS.append(TemporaryDirectory(prefix="small-checkpoint-"))
    folder = Path(_FOLDERS[-1].name)
    write_random_checkpoint(folder, SMALL, seed=1)
    return folder


@cache
def small_checkpoint() -> Checkpoint:
    return Checkpoint.open(small_folder())


def edit_json(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Apply `change` to the content of a JSON file."""
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def write_weights(file: Path, tensors: Mapping[str, Any]) -> None:
    """Replace a weights file."""
    from safetensors.torch import save_file

    file.unlink(missing_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
