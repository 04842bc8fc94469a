"""LoRA adapters in the published file format, applied without changing the base weights (spec 05 section 5).

    adapter = Adapter.load(path, config)
    adapted = adapter.apply(transformer, 0.8)    # shares every weight with `transformer`, adds low-rank products

`apply` returns a new tree of modules over the same tensors. Songs with and without adapters therefore run in parallel,
and nothing has to be undone. Several adapters are applied one after the other.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from acestep_flows import storage
from acestep_flows.errors import CheckpointError
from acestep_flows.model.adapter_file import BASE, FILE, LowRank, read_adapter_file
from acestep_flows.model.adapter_scaling import METADATA, Scaling
from acestep_flows.model.float8 import Float8Linear
from acestep_flows.model.layout import transformer_layout
from acestep_flows.model.packed_linear import PackedLinear

log = logging.getLogger(__name__)

EMBEDDING = "lyric_embs"

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Adapter:
    """A loaded adapter.

    Attributes:
        layers: the updates, by the published name of a linear layer.
        scaling: None where the file has no such metadata.
        base: digest of the transformer the adapter was trained on; "" where the file has no such metadata.
    """

    layers: Mapping[str, LowRank]
    scaling: Scaling | None = None
    base: str = ""

    @classmethod
    def load(cls, path: Path, config: Mapping[str, Any], base: str = "") -> Adapter:
        """Read an adapter for the transformer with the parsed config file `config`.

        Args:
            path: the file, or the folder that holds it under its usual name.
            base: the transformer's digest. An adapter trained on other weights of the same shapes logs a warning.

        Raises:
            CheckpointError: no such file, not an adapter, or an adapter for another model.
        """
        adapter = cls.read(path)
        adapter.check(config, str(path / FILE if path.is_dir() else path), base)
        return adapter

    def check(self, config: Mapping[str, Any], where: str, base: str = "") -> None:
        """Refuse an adapter that does not fit the transformer of `config`; the arguments are those of `load`.

        Args:
            where: the file, for errors and warnings.

        Raises:
            CheckpointError: the adapter is for another model.
        """
        problems = _misfits(self.layers, config)
        if problems:
            more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
            allowed = "linear layers of the transformer, in the shapes of this checkpoint"
            raise CheckpointError(f"does not fit: {'; '.join(problems[:5])}{more}", where=where, allowed=allowed)
        if base and self.base not in ("", base):
            log.warning("%s was trained on other weights (%.12s) than these (%.12s)", where, self.base, base)

    @classmethod
    def read(cls, path: Path, alpha: float | None = None, rslora: bool = False) -> Adapter:
        """Read an adapter in any format without checking which model it is for; arguments as `read_adapter_file`.

        Raises:
            CheckpointError: no such file, or not an adapter.
        """
        content = read_adapter_file(path, alpha, rslora)
        return cls(content.layers, content.scaling, content.base)

    def save(self, folder: Path) -> Path:
        """Write the adapter to `folder`, with its scaling as metadata, and return the file's path.

        Raises:
            StorageError: the folder cannot be written to.
        """
        tensors = {}
        for name, layer in self.layers.items():
            tensors[f"{name}.lora_A.weight"] = layer.down.contiguous()
            tensors[f"{name}.lora_B.weight"] = layer.up.contiguous()
        metadata = {"format": "pt"} | ({BASE: self.base} if self.base else {})
        if self.scaling is not None:
            rank = max(layer.rank for layer in self.layers.values())
            ranks = {name: layer.rank for name, layer in self.layers.items() if layer.rank != rank}
            lora_config = {"peft_type": "LORA", "r": rank, "rank_pattern": ranks, "target_modules": sorted(self.layers)}
            metadata[METADATA] = json.dumps(lora_config | asdict(self.scaling))
        return storage.write(folder / FILE, _with_sorted_metadata(save(tensors, metadata)))

    @cached_property
    def digest(self) -> str:
        """sha256 over names, tensors and scaling. It goes into the cache keys of results."""
        hasher = hashlib.sha256(json.dumps(self.scaling and asdict(self.scaling), sort_keys=True).encode())
        for name in sorted(self.layers):
            for tensor in (self.layers[name].down, self.layers[name].up):
                hasher.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
                hasher.update(tensor.contiguous().view(torch.uint8).numpy().data)
        return hasher.hexdigest()

    def apply(self, module: M, weight: float = 1.0) -> M:
        """A copy of `module` that shares its tensors and adds the adapter's updates, times `weight` and their scaling.

        Layers that `module` lacks are skipped: one adapter covers the lyric encoder, the condition projector and the
        transformer, which are separate modules. Another adapter or weight needs another copy.
        """
        shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        adapted = copy.deepcopy(module, cast("dict[int, Any]", shared))
        modules = dict(adapted.named_modules())
        for name, layer in self.layers.items():
            base = modules.get(name)
            if isinstance(base, nn.Linear | LoraLinear | Float8Linear | PackedLinear):
                parent, _, child = name.rpartition(".")
                scaling = weight * (self.scaling.of(name, layer.rank) if self.scaling else 1.0)
                setattr(modules[parent], child, LoraLinear(base, layer, scaling))
        return adapted


class LoraLinear(nn.Module):
    """A linear layer plus a scaled low-rank update. It has the interface of the layer it wraps."""

    def __init__(
        self, base: nn.Linear | LoraLinear | Float8Linear | PackedLinear, layer: LowRank, scaling: float
    ) -> None:
        super().__init__()
        self.base, self.scaling = base, scaling
        self.down, self.up = (
            nn.Parameter(tensor.to(self.weight), requires_grad=False) for tensor in (layer.down, layer.up)
        )

    @property
    def weight(self) -> Tensor:
        """The weight of the wrapped layer."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x)
        return out + self.scaling * F.linear(F.linear(x, self.down), self.up)


def _with_sorted_metadata(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted. The library's order varies, so equal adapters would differ."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _misfits(layers: Mapping[str, LowRank], config: Mapping[str, Any]) -> list[str]:
    """The problems of applying `layers` to the transformer of `config`, each with the tensor it is about.

    Where no layer has a name that the transformer knows, names are the problem and not the model; that is said once.
    """
    layout = transformer_layout(config)
    problems, known = [], 0
    for name, layer in layers.items():
        expected = layout.get(f"{name}.weight")
        if expected is None or len(expected) != 2 or name == EMBEDDING:
            problems.append(f"the model has no linear layer {name}")
            continue
        known += 1
        outputs, inputs = layer.up.shape[0], layer.down.shape[1]
        if inputs != expected[1]:
            problems.append(f"{name}.lora_A.weight has width {inputs}, and the layer has {expected[1]} inputs")
        if outputs != expected[0]:
            problems.append(f"{name}.lora_B.weight has height {outputs}, and the layer has {expected[0]} outputs")
    if problems and not known:
        problems = [f"its names are none of this kind of model: {problem}" for problem in problems[:1]]
    return problems
