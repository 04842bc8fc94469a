"""A training recipe: one YAML file, checked wholly before anything is loaded. Unknown keys are refused.

    kind: autoencoder
    seed: 1
    loop: {steps: 5000, learning_rate: 1.5e-3, schedule: cosine}
    ...                       what this kind of training needs beside

Each kind of training lives in a module of its own, which names its recipe class `RECIPE` and builds the task.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from acestep_flows.errors import InputError
from acestep_flows.training.loop.precision import Precision

KINDS: dict[str, str] = {
    "diffusion": "acestep_flows.training.kinds.diffusion",
    "lora": "acestep_flows.training.kinds.lora",
    "control": "acestep_flows.training.kinds.control",
    "autoencoder": "acestep_flows.training.kinds.autoencoder",
    "decoder": "acestep_flows.training.kinds.decoder",
}
"""Where each kind is: a module with `RECIPE`, its recipe class, and `build(recipe, device)`, its task."""

PRESETS = Path(__file__).parents[1] / "presets"

Schedule = Literal["constant", "linear", "cosine", "constant_then_decay"]


class RecipeSection(BaseModel):
    """A part of a recipe: frozen, strict about its keys, and every field says what it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LoopSettings(RecipeSection):
    """How the weights are moved, whatever they are (spec 05 section 3)."""

    steps: int = Field(gt=0, description="Optimiser steps in all.")
    learning_rate: float = Field(1e-4, gt=0, description="The highest rate.")
    warmup: int = Field(0, ge=0, description="Steps over which the rate rises from 0.")
    schedule: Schedule = Field("linear", description="How the rate falls after the warm-up, to 0 at the last step.")
    decay_share: float = Field(0.4, gt=0, le=1, description="constant_then_decay: the last share of steps that decays.")
    betas: tuple[float, float] = Field((0.8, 0.9), description="AdamW's two momenta.")
    weight_decay: float = Field(1e-2, ge=0, description="AdamW's weight decay.")
    clip: float = Field(0.5, gt=0, description="Largest norm of the gradient.")
    accumulate: int = Field(1, gt=0, description="Batches per step; several workers share them.")
    average: float = Field(0.999, ge=0, lt=1, description="Decay of the weights' moving average; 0: none.")
    precision: Precision = Field(
        "auto", description="Compute dtype; weights stay float32. auto: bfloat16 where the device is fast at it."
    )
    gradient_checkpointing: bool = Field(False, description="Compute activations twice in place of keeping them.")
    skip_bad: int = Field(0, ge=0, description="Batches without a finite loss that may be left out before it stops.")
    save_every: int = Field(500, gt=0, description="Steps between saved states.")
    keep: int = Field(3, gt=0, description="Saved states that are kept.")
    log_every: int = Field(10, gt=0, description="Steps per line of the curve.")
    preview_every: int = Field(0, ge=0, description="Steps between previews; 0: only at the end.")
    ahead: int = Field(4, ge=0, description="Batches prepared while the device works.")
    threads: int = Field(0, ge=0, description="CPU threads of torch; 0: its own choice.")
    mlflow: str | None = Field(None, description="Tracking URI for curves and previews, e.g. sqlite:///runs.db.")

    @model_validator(mode="after")
    def _fits(self) -> LoopSettings:
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} is not below steps {self.steps}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {list(self.betas)} are not in 0..1")
        return self


class TrainingRecipe(RecipeSection):
    """What every kind of training has. The kinds add sections of their own."""

    kind: str = Field(description="What is trained.")
    seed: int = Field(0, ge=0, lt=2**63, description="Everything random follows from it and the step.")
    loop: LoopSettings


def presets() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {file.stem: file for file in sorted(PRESETS.glob("*.yaml"))}


def load_recipe(name: str, assignments: Sequence[str] = (), kind: str | None = None) -> TrainingRecipe:
    """Read a recipe.

    Args:
        name: a preset's name, or the path of a YAML file.
        assignments: changes of single values, as `loop.steps=100`.
        kind: what the recipe must be for.

    Raises:
        InputError: no such recipe, not YAML, an unknown key, a value out of range.
    """
    return parse_recipe(read_recipe(name, assignments), name, kind)


def read_recipe(name: str, assignments: Sequence[str] = ()) -> dict[str, Any]:
    """What a preset or YAML file says, with `assignments` in place; unchecked."""
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
    return content


def parse_recipe(content: dict[str, Any], where: str, kind: str | None = None) -> TrainingRecipe:
    """The recipe that `content` describes; see `load_recipe`."""
    found = content.get("kind")
    if found not in KINDS:
        raise InputError(f"kind {found!r}", where=where, allowed=", ".join(KINDS))
    if kind is not None and found != kind:
        raise InputError(f"a recipe for {found}", where=where, allowed=f"one for {kind}")
    model: type[TrainingRecipe] = importlib.import_module(KINDS[found]).RECIPE
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise InputError(problems(error), where=where) from None


def problems(error: ValidationError) -> str:
    """All that is wrong, key by key."""
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or 'recipe'}: {one['msg']}" for one in error.errors())


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
            raise InputError(f"{section!r} has no keys", where=f"--set {path}")
    try:
        target[key] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"{text!r} is not a YAML value", where=f"--set {path}") from None
