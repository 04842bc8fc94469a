"""LoRA adapters in training: choose the layers, make trainable factors, and collect them (spec 05 section 5).

Targets are endings of published layer names, as in peft's `target_modules`. A fresh adapter has no effect, as one of
its two factors is zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from pydantic import Field
from torch import nn

from acestep_flows.errors import InputError
from acestep_flows.model.adapter_file import LowRank
from acestep_flows.model.adapter_scaling import Scaling
from acestep_flows.model.adapters import EMBEDDING, Adapter, LoraLinear
from acestep_flows.model.layout import transformer_layout
from acestep_flows.training.loop.recipe import RecipeSection

M = TypeVar("M", bound=nn.Module)

TARGETS = ("speaker_embedder", "linear_q", "linear_k", "linear_v", "to_q", "to_k", "to_v", "to_out.0")
"""The targets of the released adapter."""


class LowRankSettings(RecipeSection):
    """The `adapter` section: size and layers of an adapter. The defaults are those of the released one."""

    rank: int = Field(256, gt=0, description="Width of the two factors.")
    alpha: float = Field(32.0, gt=0, description="Scaling is alpha / rank, or alpha / sqrt(rank).")
    rslora: bool = Field(True, description="Divide alpha by the root of the rank.")
    targets: tuple[str, ...] = Field(TARGETS, min_length=1, description="Endings of the names of the adapted layers.")

    @property
    def scaling(self) -> Scaling:
        """The scaling as adapter files store it."""
        return Scaling(self.alpha, self.rslora)


def refined_layers(
    config: Mapping[str, Any], settings: LowRankSettings, prefixes: Sequence[str] = ("",)
) -> dict[str, tuple[int, int]]:
    """The layers of the transformer of `config` that get an adapter, each with its number of outputs and inputs.

    Args:
        prefixes: only layers whose names begin with one of these.

    Raises:
        InputError: a target names no linear layer.
    """
    linear = {
        name.removesuffix(".weight"): (shape[0], shape[1])
        for name, shape in transformer_layout(config).items()
        if len(shape) == 2 and name.endswith(".weight") and ".add_" not in name and not name.startswith(EMBEDDING)
    }
    layers = {}
    for target in settings.targets:
        matches = [name for name in linear if _has_ending(name, target) and name.startswith(tuple(prefixes))]
        if not matches:
            raise InputError(f"no linear layer {target!r}", where="targets", allowed=", ".join(TARGETS))
        layers.update({name: linear[name] for name in matches})
    return layers


def fresh_adapter(config: Mapping[str, Any], settings: LowRankSettings, prefixes: Sequence[str] = ("",)) -> Adapter:
    """An adapter without effect for the layers of `refined_layers`, drawn from torch's own generator."""
    layers = {}
    for name, (outputs, inputs) in refined_layers(config, settings, prefixes).items():
        down = nn.init.kaiming_uniform_(torch.empty(settings.rank, inputs), a=math.sqrt(5))
        layers[name] = LowRank(down, torch.zeros(outputs, settings.rank))
    return Adapter(layers, settings.scaling)


def trainable(adapter: Adapter, module: M) -> M:
    """`adapter.apply(module)` in which only the adapter's factors require gradients."""
    adapted = adapter.apply(module)
    for part in adapted.modules():
        if isinstance(part, LoraLinear):
            for name in ("down", "up"):
                setattr(part, name, nn.Parameter(getattr(part, name).detach().float().clone()))
    return adapted


def extract_adapter(modules: Iterable[nn.Module], scaling: Scaling | None, base: str) -> Adapter:
    """The adapter that `modules` hold, copied to the CPU.

    Args:
        base: digest of the transformer that it was trained on.
    """
    layers = {}
    for module in modules:
        for name, part in module.named_modules():
            if isinstance(part, LoraLinear):
                layers[name] = LowRank(part.down.detach().cpu().clone(), part.up.detach().cpu().clone())
    return Adapter(layers, scaling, base)


def _has_ending(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
