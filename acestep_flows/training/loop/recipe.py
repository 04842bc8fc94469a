"""Training recipes: YAML files that are checked as a whole before anything is loaded. Unknown keys are refused.

    kind: autoencoder
    seed: 1
    loop: {steps: 5000, learning_rate: 1.5e-3, schedule: cosine}
    ...                       further sections of this kind of training

Each kind of training is a module with its recipe class, called `RECIPE`, and a function `build` that makes its task.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acestep_flows.errors import InputError
from acestep_flows.training.loop.precision import Precision
from acestep_flows.wording.faults import fault_line

log = logging.getLogger(__name__)

TRIAL_WARMUP = 10
"""A warm-up that is as long as the whole training becomes this part of it."""

KINDS: dict[str, str] = {
    "diffusion": "acestep_flows.training.kinds.diffusion",
    "lora": "acestep_flows.training.kinds.lora",
    "control": "acestep_flows.training.kinds.control",
    "autoencoder": "acestep_flows.training.kinds.autoencoder",
    "decoder": "acestep_flows.training.kinds.decoder",
}
"""The module of each kind. It has `RECIPE`, the recipe class, and `build(recipe, device)`, which makes the task."""

PRESETS = Path(__file__).parents[1] / "presets"

Schedule = Literal["constant", "linear", "cosine", "constant_then_decay"]


class RecipeSection(BaseModel):
    """A section of a recipe. It is frozen, refuses unknown keys, and describes every field."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoopSettings(RecipeSection):
    """The `loop` section: optimiser, schedule and saving, the same for every kind (spec 05 section 3)."""

    steps: int = Field(gt=0, description="Number of optimiser steps.")
    learning_rate: float = Field(1e-4, gt=0, description="Highest learning rate.")
    warmup: int = Field(0, ge=0, description="Steps over which the learning rate rises from 0.")
    schedule: Schedule = Field("linear", description="Learning rate after the warm-up; all but constant reach 0.")
    decay_share: float = Field(0.4, gt=0, le=1, description="constant_then_decay: share of steps that decay.")
    betas: tuple[float, float] = Field((0.8, 0.9), description="AdamW's beta1 and beta2.")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's weight decay.")
    clip: float = Field(0.5, gt=0, description="Gradients are clipped to this norm.")
    accumulate: int = Field(1, gt=0, description="Batches per step; the workers share them.")
    average: float = Field(0.999, ge=0, lt=1, description="Decay of the moving average of weights; 0: none.")
    precision: Precision = Field(
        "auto", description="Compute dtype; weights stay float32. auto: bfloat16 where the device is fast at it."
    )
    gradient_checkpointing: bool = Field(False, description="Recompute activations to save memory.")
    skip_bad: int = Field(0, ge=0, description="Batches without a finite loss that may be left out.")
    save_every: int = Field(500, gt=0, description="Steps between saved states.")
    keep: int = Field(3, gt=0, description="Number of newest saved states to keep.")
    log_every: int = Field(10, gt=0, description="Steps per line of the curve.")
    preview_every: int = Field(0, ge=0, description="Steps between previews; 0: only at the end.")
    ahead: int = Field(4, ge=0, description="Batches made in advance.")
    threads: int = Field(0, ge=0, description="CPU threads of torch; 0: torch's default.")
    mlflow: str | None = Field(None, description="Tracking URI for curves and previews, e.g. sqlite:///runs.db.")

    @model_validator(mode="after")
    def _fits(self) -> LoopSettings:
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} must be below steps {self.steps}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {list(self.betas)} must be at least 0 and below 1")
        return self


class TrainingRecipe(RecipeSection):
    """The fields of every recipe. Each kind of training adds sections of its own."""

    kind: str = Field(description="Kind of training.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of everything random.")
    loop: LoopSettings


def presets() -> dict[str, Path]:
    """The files of the recipes that come with the package, by name."""
    return {file.stem: file for file in sorted(PRESETS.glob("*.yaml"))}


def load_recipe(name: str, assignments: Sequence[str] = (), kind: str | None = None) -> TrainingRecipe:
    """Read a recipe.

    Args:
        name: a preset's name, or the path of a YAML file.
        assignments: changes of single values, for example `loop.steps=100`.
        kind: the kind of training that the recipe must have; None accepts all.

    Raises:
        InputError: there is no such recipe, it is not YAML, a key is unknown, or a value is out of range.
    """
    return parse_recipe(read_recipe(name, assignments), name, kind)


def read_recipe(name: str, assignments: Sequence[str] = ()) -> dict[str, Any]:
    """The unchecked content of a preset or YAML file, changed by `assignments`.

    Raises:
        InputError: there is no such recipe, it is not YAML, or an assignment has no place in it.
    """
    file = presets().get(name) or Path(name)
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(presets())
        raise InputError("no such recipe", where=name, allowed=f"a YAML file, or one of {known}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=name) from None
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {' '.join(str(error).split())}", where=name) from None
    if not isinstance(content, dict):
        raise InputError("not a recipe", where=name, allowed="a YAML mapping with at least `kind` and `loop`")
    for assignment in assignments:
        _assign(content, assignment)
    _shorten_warmup(content, {assignment.partition("=")[0] for assignment in assignments})
    return content


def _shorten_warmup(content: dict[str, Any], assigned: Collection[str]) -> None:
    """Fit the recipe's own warm-up to a number of steps that was assigned: a trial of a few steps is mostly that."""
    loop = content.get("loop")
    if "loop.steps" not in assigned or "loop.warmup" in assigned or not isinstance(loop, dict):
        return
    steps, warmup = loop.get("steps"), loop.get("warmup")
    if isinstance(steps, int) and isinstance(warmup, int) and 0 < steps <= warmup:
        loop["warmup"] = steps // TRIAL_WARMUP
        log.warning("loop.warmup: %d, not %d, because there are only %d steps", loop["warmup"], warmup, steps)


def parse_recipe(content: dict[str, Any], where: str, kind: str | None = None) -> TrainingRecipe:
    """Check `content` and make the recipe of it; see `load_recipe`. `where` names the recipe in errors."""
    recipe_kind = content.get("kind")
    if recipe_kind not in KINDS:
        raise InputError(f"kind {recipe_kind!r}", where=where, allowed=", ".join(KINDS))
    if kind is not None and recipe_kind != kind:
        raise InputError(f"a recipe for {recipe_kind}", where=where, allowed=f"one for {kind}")
    model: type[TrainingRecipe] = importlib.import_module(KINDS[recipe_kind]).RECIPE
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(fault_line(error, model), where=where) from None


_NOT_PLAIN = re.compile(r"[-+]?(0\d[\d_]*|\d[\d_]*(:\d+)+(\.\d*)?)")
"""What YAML would read as octal digits or in base 60 (`1:30` as 90)."""


def _assign(content: dict[str, Any], assignment: str) -> None:
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise InputError(f"{assignment!r}", where="--set", allowed="KEY=VALUE, as in loop.steps=100")
    *sections, key = path.split(".")
    target = content
    for section in sections:
        if target.get(section) is None:
            target[section] = {}
        target = target[section]
        if not isinstance(target, dict):
            raise InputError(f"{section!r} is a single value without keys", where=f"--set {path}")
    if _NOT_PLAIN.fullmatch(text.strip()):
        raise InputError(f"{text!r} is not a plain number", where=f"--set {path}", allowed="digits, as in 90 or 8")
    try:
        target[key] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"{text!r} is not a YAML value", where=f"--set {path}") from None
