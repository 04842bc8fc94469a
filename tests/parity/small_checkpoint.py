"""The checkpoint of the small reference: the full one's tensors as far as they are shipped, drawn ones for the rest.

The full tiny checkpoint is 17 MB of random numbers. The small reference ships those tensors that its goldens of the
original depend on. All others are drawn from a seed (`acestep_flows.testing.random_checkpoint`), so that whole networks
run; what they compute was recorded from this implementation.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from acestep_flows.model.checkpoint import CONFIG, PARTS, weights_file
from acestep_flows.testing.random_checkpoint import random_weights

WEIGHTS = "weights.safetensors"
"""The shipped tensors, as `PART/NAME`; of a table with few rows in use, `PART/NAME@rows` and `PART/NAME@indices`."""
DIGEST = "drawn-sha256"
"""Digest of the drawn tensors, as they were when the reference was made."""
SEED = 20250

_FOLDERS: list[TemporaryDirectory[str]] = []


def has_partial_weights(root: Path) -> bool:
    return (root / WEIGHTS).is_file()


@cache
def assembled(root: Path, configs: Path) -> Path:
    """A whole checkpoint in a temporary folder, made once per process from the reference at `root`."""
    _FOLDERS.append(TemporaryDirectory(prefix="small-reference-"))
    folder = Path(_FOLDERS[-1].name)
    shutil.copytree(configs, folder, dirs_exist_ok=True)
    parts = {part: drawn(configs / part / CONFIG) for part in PARTS}
    assert digest_of(parts) == (root / DIGEST).read_text().strip(), (
        "numpy draws other numbers than it did: make the small reference anew (make_small_reference.py)"
    )
    shipped = load_file(root / WEIGHTS)
    for part, tensors in parts.items():
        overlay(tensors, shipped, part)
        save_file(tensors, folder / part / weights_file(part), metadata={"format": "pt"})
    return folder


def digest_of(parts: Mapping[str, Mapping[str, Tensor]]) -> str:
    """SHA-256 of tensors, by part and name."""
    digest = hashlib.sha256()
    for tensors in parts.values():
        for name in sorted(tensors):
            digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def drawn(config: Path) -> dict[str, Tensor]:
    """Random float32 tensors of a part. The mel buffers are computed and rounded as in the published file."""
    arrays = random_weights(json.loads(config.read_text("utf-8")), SEED)
    tensors = {name: torch.from_numpy(array).contiguous() for name, array in arrays.items()}
    return {
        name: tensor.bfloat16().float() if name.startswith("mel_transform.") else tensor
        for name, tensor in tensors.items()
    }


def overlay(tensors: dict[str, Tensor], shipped: Mapping[str, Tensor], part: str) -> None:
    """Put the shipped tensors of `part` in the place of drawn ones."""
    for key, tensor in shipped.items():
        owner, _, name = key.partition("/")
        if owner != part or name.endswith("@indices"):
            continue
        if name.endswith("@rows"):
            name = name.removesuffix("@rows")
            tensors[name][shipped[f"{part}/{name}@indices"]] = tensor
        else:
            assert tensors[name].shape == tensor.shape, key
            tensors[name] = tensor
