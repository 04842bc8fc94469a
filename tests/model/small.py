"""A small random checkpoint, written once per test run, and what tests do to copies of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.testing.random_checkpoint import SMALL, write_random_checkpoint

_KEPT: list[TemporaryDirectory[str]] = []


@cache
def small_folder() -> Path:
    """The folder of the checkpoint. Do not write to it: copy it."""
    _KEPT.append(TemporaryDirectory(prefix="small-checkpoint-"))
    folder = Path(_KEPT[-1].name)
    write_random_checkpoint(folder, SMALL, seed=1)
    return folder


@cache
def small_checkpoint() -> Checkpoint:
    return Checkpoint.open(small_folder())


def edit_json(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite a JSON file after `change` had its way with the content."""
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def write_weights(file: Path, tensors: Mapping[str, Any]) -> None:
    """Replace a weights file."""
    from safetensors.torch import save_file

    file.unlink(missing_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
