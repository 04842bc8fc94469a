"""The state of a training run: everything that changes from step to step, and how it is saved and restored."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.training.loop.average import Average
from acestep_flows.training.loop.recipe import TrainingRecipe
from acestep_flows.training.loop.states import States
from acestep_flows.training.loop.task import Task

CHANGEABLE = ("loop", "loss", "source.cache", "source.workers", "text_cache")
"""Sections and values of a recipe that may change when a run is resumed. Paths may change if their content does not."""


class TrainingState:
    """Weights, their moving average, optimiser state, and the sums of the unfinished line of the curve.

    Args:
        states: where states are saved.
        averaged: keep a moving average, where the recipe asks for one.

    Raises:
        InputError: the task has no trainable parameters.
    """

    def __init__(self, task: Task, recipe: TrainingRecipe, states: States, *, averaged: bool = True) -> None:
        self.step, self.skipped, self.seed = 0, 0, recipe.seed
        self.sums: dict[str, float] = {}
        self.count = 0
        self._task, self._recipe, self._states = task, recipe, states
        parameters = {f"{key}.{name}": p for key, m in task.modules().items() for name, p in m.named_parameters()}
        self.parameters = {name: p for name, p in parameters.items() if p.requires_grad}
        if not self.parameters:
            raise InputError("the task has no trainable parameters", where=recipe.kind)
        settings = recipe.loop
        self.optimiser = torch.optim.AdamW(
            self.parameters.values(),
            lr=settings.learning_rate,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.average = Average(self.parameters, settings.average) if settings.average and averaged else None

    def save(self) -> Path:
        """Write the state of this step. Returns its file.

        Raises:
            StorageError: it cannot be written.
        """
        return self._states.save(
            self.step,
            {
                "weights": {name: parameter.detach() for name, parameter in self.parameters.items()},
                "buffers": self._buffers(),
                "average": self.average.weights if self.average else None,
                "optimiser": self.optimiser.state_dict(),
                "sums": dict(self.sums),
                "count": self.count,
                "skipped": self.skipped,
                "content": self._content,
            },
        )

    @property
    def path(self) -> Path:
        """The file of this step's state, once it is saved."""
        return self._states.path(self.step)

    @cached_property
    def _content(self) -> dict[str, str]:
        return dict(self._task.content())

    @torch.no_grad()
    def restore(self, out: Path) -> None:
        """Continue from the newest readable state, if there is any.

        Raises:
            InputError: the run has another recipe, or the files that its recipe names have other content.
            CheckpointError: no state can be read, or it holds other weights.
        """
        content = self._newest()
        if content is None:
            return
        digests: dict[str, str] = content.get("content", {})
        _check_recipe(self._recipe, out, digests.keys())
        if changed := self._changed(digests):
            what = f"the folder holds a run over other content: what is behind {', '.join(changed)} has changed"
            raise InputError(what, where=str(out), allowed="the content that the run began with, or another folder")
        shapes = {name: tuple(tensor.shape) for name, tensor in content["weights"].items()}
        if shapes != {name: tuple(parameter.shape) for name, parameter in self.parameters.items()}:
            raise CheckpointError("a state of other weights", where=str(self._states.path(content["step"])))
        self._load(content)

    def _changed(self, digests: Mapping[str, str]) -> list[str]:
        """The recipe keys whose content is not what a state's `digests` say."""
        changed = sorted(key for key, digest in digests.items() if self._content.get(key, digest) != digest)
        former = self._task.former_content() if changed else {}
        return [key for key in changed if former.get(key) != digests[key]]

    def _newest(self) -> dict[str, Any] | None:
        """The content of the newest readable state; None where there are no states.

        Raises:
            CheckpointError: there are states, and none can be read.
        """
        steps = self._states.steps()
        for step in reversed(steps):
            try:
                return self._states.load(step)
            except CheckpointError:
                if step == steps[0]:
                    raise
        return None

    def _load(self, content: Mapping[str, Any]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(content["weights"][name])
        for name, buffer in self._buffers().items():
            buffer.copy_(content["buffers"][name])
        if self.average:
            for name, average in self.average.weights.items():
                average.copy_((content["average"] or content["weights"])[name])
        self.optimiser.load_state_dict(content["optimiser"])
        for group in self.optimiser.param_groups:  # the loop's settings may have changed since
            group["betas"], group["weight_decay"] = self._recipe.loop.betas, self._recipe.loop.weight_decay
        self.sums, self.count = dict(content["sums"]), content["count"]
        self.step, self.skipped = content["step"], content["skipped"]

    def _buffers(self) -> dict[str, Tensor]:
        """The buffers of the trained modules that their state dicts hold."""
        buffers: dict[str, Tensor] = {}
        for key, module in self._task.modules().items():
            parameters = {name for name, _ in module.named_parameters()}
            tensors = module.state_dict()
            buffers |= {f"{key}.{name}": tensor for name, tensor in tensors.items() if name not in parameters}
        return buffers


def _check_recipe(recipe: TrainingRecipe, out: Path, digested: Collection[str]) -> None:
    """Refuse to continue a run of another recipe, and name the values that differ.

    The values in `CHANGEABLE` may differ, and the paths in `digested`, whose content is compared instead.

    Raises:
        InputError: the recipes differ, or the run's recipe cannot be read.
    """
    try:
        former = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(out / "recipe.json")) from None
    with contextlib.suppress(ValidationError):  # settings newer than the run had their defaults
        former = type(recipe).model_validate(former).model_dump(mode="json")
    current = recipe.model_dump(mode="json")
    differing = _leaves(former, digested).items() ^ _leaves(current, digested).items()
    if changed := sorted({name for name, _ in differing}):
        what = f"the folder holds a run of another recipe: {', '.join(changed)} changed"
        raise InputError(what, where=str(out), allowed="changes of `loop` and `loss`, or another folder")


def _leaves(content: Any, free: Collection[str], path: str = "") -> dict[str, str]:
    """The single values of a recipe by dotted path, as JSON, without those that may change."""
    if path.split(".", maxsplit=1)[0] in CHANGEABLE or path in CHANGEABLE or path in free:
        return {}
    if not isinstance(content, dict):
        return {path: json.dumps(content)}
    return {
        name: leaf
        for key, part in content.items()
        for name, leaf in _leaves(part, free, f"{path}.{key}" if path else key).items()
    }
