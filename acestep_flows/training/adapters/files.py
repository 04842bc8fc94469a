"""Adapter files: describe them, read them in several formats, and write them in two.

The formats differ in the names of the same matrices: the published ones (`LAYER.lora_A.weight`), peft's and diffusers'
(the same after a prefix), and kohya's (`lora_unet_LAYER.lora_down.weight`, where LAYER has "_" for ".", with an `alpha`
per layer). The scaling comes from the file's metadata, from `adapter_config.json`, or from the alphas.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from acestep_flows import storage
from acestep_flows.errors import CheckpointError
from acestep_flows.model.adapters import BASE, FILE, METADATA, Adapter, LowRank, Scaling, read_scaling
from acestep_flows.model.layout import TRANSFORMER, transformer_layout
from acestep_flows.training.nano.architecture import configs

PEFT_CONFIG, PEFT_FILE = "adapter_config.json", "adapter_model.safetensors"
KOHYA = ("lora_unet_", "lora_transformer_")
PREFIXES = ("base_model.model.", "transformer.", "diffusion_model.", "model.")
NUMBER = re.compile(r"(?<=[._])\d+(?=[._]|$)")
ENDINGS = {
    ".lora_A.weight": "down",
    ".lora_A.default.weight": "down",
    ".lora_down.weight": "down",
    ".lora_B.weight": "up",
    ".lora_B.default.weight": "up",
    ".lora_up.weight": "up",
    ".alpha": "alpha",
}

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


def read_foreign(path: Path, alpha: float | None = None, rslora: bool = False) -> Adapter:
    """Read an adapter in any of the formats above.

    Args:
        path: a file, or a folder that holds one under its usual name.
        alpha: scaling of a file that holds none.
        rslora: whether `alpha` is divided by the root of the rank.

    Raises:
        CheckpointError: there is no such file, it cannot be read, or it is in none of the formats.
    """
    folder = path if path.is_dir() else path.parent
    names = (FILE, PEFT_FILE) if path.is_dir() else (path.name,)
    file = next((folder / name for name in names if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError("no adapter", where=str(path), allowed=f"a file, or a folder with {FILE} or {PEFT_FILE}")
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=str(file)) from None
    layers, alphas = _layers(tensors, file)
    scaling = _foreign_scaling(folder, layers, alphas)
    if METADATA in metadata and scaling is None:
        scaling = read_scaling(metadata, file)
    if scaling is None and alpha is not None:
        scaling = Scaling(alpha, rslora)
    return Adapter(layers, scaling, metadata.get(BASE, ""))


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


def _layers(tensors: Mapping[str, Tensor], file: Path) -> tuple[dict[str, LowRank], dict[str, float]]:
    """Layers, and the alphas of the layers that have one, from tensors with names of any format."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        ending = next((ending for ending in ENDINGS if name.endswith(ending)), None)
        if ending is None:
            raise CheckpointError(f"not an adapter: {name}", where=str(file), allowed="low-rank matrices of layers")
        parts.setdefault(_published_name(name.removesuffix(ending), file), {})[ENDINGS[ending]] = tensor
    incomplete = [name for name, part in parts.items() if not {"down", "up"} <= set(part)]
    if incomplete or not parts:
        what = f"{incomplete[0]} has one factor only" if incomplete else "no tensors"
        raise CheckpointError(f"not an adapter: {what}", where=str(file))
    layers = {name: LowRank(_matrix(part["down"]), _matrix(part["up"])) for name, part in parts.items()}
    return layers, {name: float(part["alpha"]) for name, part in parts.items() if "alpha" in part}


def _published_name(name: str, file: Path) -> str:
    """The published name of the layer that another format calls `name`.

    Raises:
        CheckpointError: kohya's name belongs to no layer.
    """
    if name.startswith(KOHYA):
        flat = name.removeprefix(next(prefix for prefix in KOHYA if name.startswith(prefix)))
        pattern = _published_names().get(NUMBER.sub("#", flat))
        if pattern is None:
            raise CheckpointError(f"no layer is called {name}", where=str(file), allowed="layers of the transformer")
        numbers = iter(NUMBER.findall(flat))
        return re.sub("#", lambda _: next(numbers), pattern)
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


@cache
def _published_names() -> dict[str, str]:
    """Published names by kohya's, with "#" for every number, so that they are the same for models of any size."""
    names = [name.removesuffix(".weight") for name in transformer_layout(configs(1, 1)[TRANSFORMER])]
    return {NUMBER.sub("#", name.replace(".", "_")): NUMBER.sub("#", name) for name in names}


def _matrix(tensor: Tensor) -> Tensor:
    """A matrix, also where a file stores the factor of a 1x1 convolution as its kernel."""
    return tensor.flatten(1) if tensor.ndim > 2 and tensor[0, 0].numel() == 1 else tensor


def _foreign_scaling(folder: Path, layers: Mapping[str, LowRank], alphas: Mapping[str, float]) -> Scaling | None:
    if alphas:
        common = Counter(alphas.get(name, float(layer.rank)) for name, layer in layers.items()).most_common(1)[0][0]
        all_alphas = {name: alphas.get(name, float(layer.rank)) for name, layer in layers.items()}
        return Scaling(common, False, {name: alpha for name, alpha in all_alphas.items() if alpha != common})
    file = folder / PEFT_CONFIG
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        return Scaling(float(config["lora_alpha"]), bool(config.get("use_rslora")), config.get("alpha_pattern") or {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot be read: {error!r}", where=str(file)) from None


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
