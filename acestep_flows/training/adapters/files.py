"""Describe adapters, change them, and write them in the published format or in peft's."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save

from acestep_flows import storage
from acestep_flows.model.adapter_file import PEFT_FILE, LowRank
from acestep_flows.model.adapter_scaling import PEFT_CONFIG, Scaling
from acestep_flows.model.adapters import Adapter

Format = Literal["acestep", "peft"]


def describe(adapter: Adapter) -> dict[str, Any]:
    """A description of an adapter as JSON: layers by ending, ranks, scaling, parameters, dtypes, base and digest."""
    ranks = Counter(layer.rank for layer in adapter.layers.values())
    endings = Counter(_ending(name) for name in adapter.layers)
    scaling = adapter.scaling
    factors = [1.0]
    if scaling:
        factors = sorted({round(scaling.of(name, layer.rank), 6) for name, layer in adapter.layers.items()})
    return {
        "layers": len(adapter.layers),
        "targets": dict(sorted(endings.items())),
        "ranks": {str(rank): count for rank, count in sorted(ranks.items())},
        "scaling": asdict(scaling) if scaling else None,
        "factors": factors,
        "parameters": sum(layer.down.numel() + layer.up.numel() for layer in adapter.layers.values()),
        "dtypes": sorted({str(layer.up.dtype).removeprefix("torch.") for layer in adapter.layers.values()}),
        "base": adapter.base or None,
        "digest": adapter.digest,
    }


def write(adapter: Adapter, folder: Path, form: Format) -> Path:
    """Write `adapter` into `folder` in the published format or in peft's. Returns the file.

    Raises:
        StorageError: it cannot be written.
    """
    if form == "acestep":
        return adapter.save(folder)
    tensors = {}
    for name, layer in adapter.layers.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = layer.down.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = layer.up.contiguous()
    rank = max(layer.rank for layer in adapter.layers.values())
    scaling = adapter.scaling or Scaling(rank)
    alphas = {name: layer.rank for name, layer in adapter.layers.items()} if adapter.scaling is None else {}
    config = {
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {name: layer.rank for name, layer in adapter.layers.items() if layer.rank != rank},
        "target_modules": sorted(adapter.layers),
        **asdict(scaling),
    }
    config["alpha_pattern"] = {**config["alpha_pattern"], **{n: a for n, a in alphas.items() if a != rank}}
    storage.write(folder / PEFT_CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    return storage.write(folder / PEFT_FILE, save(tensors, metadata={"format": "pt"}))


def _ending(name: str) -> str:
    last = name.rpartition(".")[2]
    return ".".join(name.split(".")[-2:]) if last.isdigit() else last


def rounded(adapter: Adapter, dtype: torch.dtype) -> Adapter:
    """The same adapter in another dtype."""
    layers = {name: LowRank(layer.down.to(dtype), layer.up.to(dtype)) for name, layer in adapter.layers.items()}
    return replace(adapter, layers=layers)


def folded(adapter: Adapter) -> Adapter:
    """The same adapter with its scaling multiplied into the matrices, for loaders that read no metadata."""
    scaling = adapter.scaling
    if scaling is None:
        return adapter
    layers = {
        name: LowRank(layer.down, (scaling.of(name, layer.rank) * layer.up.float()).to(layer.up.dtype))
        for name, layer in adapter.layers.items()
    }
    return replace(adapter, layers=layers, scaling=None)
