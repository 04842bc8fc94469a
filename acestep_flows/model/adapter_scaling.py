"""The scaling of an adapter's updates, as its file says it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import regex

from acestep_flows.errors import CheckpointError

METADATA = "lora_adapter_metadata"
PEFT_CONFIG = "adapter_config.json"

PATTERN_SECONDS = 0.05
"""A pattern from a file is given this long for one name, because files come from strangers."""

ALL_SECONDS = 2.0
"""All patterns of a file are given this long for all of its layers."""

MAX_PATTERNS = 2_000


@dataclass(frozen=True)
class Scaling:
    """The scaling of the updates in training; fields have the names of peft's `LoraConfig`.

    A file without this metadata has scaling 1, as the released adapters are used.
    """

    lora_alpha: float
    use_rslora: bool = False
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)

    def of(self, name: str, rank: int) -> float:
        """The factor on the update of layer `name`, which has rank `rank`.

        Raises:
            CheckpointError: a key of `alpha_pattern` is no regular expression, or takes too long.
        """
        alpha = self.alpha_pattern.get(name)
        if alpha is None:
            fitting = (alpha for ending, alpha in self.alpha_pattern.items() if _matches(ending, name))
            alpha = next(fitting, self.lora_alpha)
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)


@lru_cache(maxsize=65536)
def _matches(ending: str, name: str) -> bool:
    """Whether a pattern of peft's means a layer: it matches the end of its name from a dot on."""
    try:
        return regex.fullmatch(rf"(.*\.)?({ending})", name, timeout=PATTERN_SECONDS) is not None
    except (regex.error, TimeoutError) as error:
        what = "takes too long" if isinstance(error, TimeoutError) else f"is no regular expression: {error}"
        raise CheckpointError(
            f"pattern {ending[:60]!r} {what}",
            where="alpha_pattern",
            allowed="names of layers, or the ends of such names",
        ) from None


def check_patterns(scaling: Scaling, ranks: Mapping[str, int], where: str) -> None:
    """Look up the scaling of every layer once, within `ALL_SECONDS`.

    Args:
        ranks: the rank of each layer, by its name.

    Raises:
        CheckpointError: a pattern is unusable, or all of them take too long.
    """
    deadline = time.monotonic() + ALL_SECONDS
    for name, rank in ranks.items():
        scaling.of(name, rank)
        if time.monotonic() > deadline:
            raise CheckpointError("alpha_pattern takes too long", where=where, allowed="fewer or simpler patterns")


def scaling_from_settings(settings: object, where: str) -> Scaling:
    """The scaling in settings of peft's form: the file's metadata, or `adapter_config.json`.

    Raises:
        CheckpointError: they lack a scaling, hold one that is no number, or are those of another kind of adapter.
    """
    if not isinstance(settings, Mapping):
        raise CheckpointError("cannot be read: not a map of settings", where=where, allowed="the settings of a LoRA")
    kind = "DoRA" if settings.get("use_dora") else settings.get("peft_type", "LORA")
    if kind != "LORA":
        raise CheckpointError(f"an adapter of kind {str(kind)[:40]}", where=where, allowed="LORA")
    alpha = _number(settings.get("lora_alpha"), "lora_alpha", where)
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, Mapping) or len(patterns) > MAX_PATTERNS:
        raise CheckpointError(
            "alpha_pattern cannot be read", where=where, allowed=f"a map of at most {MAX_PATTERNS} layers to numbers"
        )
    alphas = {
        str(name): _number(value, f"alpha_pattern of {str(name)[:60]}", where) for name, value in patterns.items()
    }
    return Scaling(alpha, bool(settings.get("use_rslora")), alphas)


def read_scaling(metadata: Mapping[str, str], where: str) -> Scaling | None:
    """The scaling in the metadata of a file; None where there is none.

    Raises:
        CheckpointError: as `scaling_from_settings`.
    """
    if METADATA not in metadata:
        return None
    return scaling_from_settings(parse_settings(metadata[METADATA], f"{where}, {METADATA}"), f"{where}, {METADATA}")


def parse_settings(text: str, where: str) -> Any:
    """JSON from a file that anyone may have written.

    Raises:
        CheckpointError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"cannot be read: {str(error)[:80]}", where=where, allowed="JSON") from None


def _number(value: object, name: str, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6 and math.isfinite(value):
        return float(value)
    shown = "nothing" if value is None else repr(value)[:40]
    raise CheckpointError(f"cannot be read: {name} is {shown}", where=where, allowed="a number")
