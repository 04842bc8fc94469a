"""One run of training: what moves from step to step, saved and taken up again."""

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

FREE = ("loop", "loss", "source.cache", "source.workers", "text_cache")
"""What of a recipe may change between a run and its resumption; and paths, where the same lies behind them."""


class TrainingState:
    """What a saved state holds: weights, their average, the optimiser, and the sums of the unfinished log line."""

    def __init__(self, task: Task, recipe: TrainingRecipe, states: States, *, averaged: bool = True) -> None:
        self.step, self.skipped, self.seed = 0, 0, recipe.seed
        self.sums: dict[str, float] = {}
        self.count = 0
        self._task, self._recipe, self._states = task, recipe, states
        named = {f"{key}.{name}": p for key, m in task.modules().items() for name, p in m.named_parameters()}
        self.parameters = {name: p for name, p in named.items() if p.requires_grad}
        if not self.parameters:
            raise InputError("nothing to train", where=recipe.kind)
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
        """Where the state of this step is, once saved."""
        return self._states.path(self.step)

    @cached_property
    def _content(self) -> dict[str, str]:
        return dict(self._task.content())

    @torch.no_grad()
    def restore(self, out: Path) -> None:
        """Take up the newest state that can be read, if there is any.

        Raises:
            InputError: it is a run of another recipe, or over other weights or songs.
            CheckpointError: no state can be read, or it is of other weights.
        """
        for step in reversed(self._states.steps()):
            try:
                content = self._states.load(step)
            except CheckpointError:
                if step == self._states.steps()[0]:
                    raise
                continue
            break
        else:
            return
        learnt_from: dict[str, str] = content.get("content", {})
        _check_same(self._recipe, out, learnt_from)
        if changed := sorted(key for key, digest in learnt_from.items() if self._content.get(key, digest) != digest):
            what = f"holds a run over other content: what is behind {', '.join(changed)} has changed"
            raise InputError(what, where=str(out), allowed="what was there at its beginning, or another folder")
        shapes = {name: tuple(tensor.shape) for name, tensor in content["weights"].items()}
        if shapes != {name: tuple(parameter.shape) for name, parameter in self.parameters.items()}:
            raise CheckpointError("a state of other weights", where=str(self._states.path(step)))
        for name, parameter in self.parameters.items():
            parameter.copy_(content["weights"][name])
        for name, buffer in self._buffers().items():
            buffer.copy_(content["buffers"][name])
        if self.average:
            for name, kept in self.average.weights.items():
                kept.copy_((content["average"] or content["weights"])[name])
        self.optimiser.load_state_dict(content["optimiser"])
        for group in self.optimiser.param_groups:  # the loop's settings may have changed since
            group["betas"], group["weight_decay"] = self._recipe.loop.betas, self._recipe.loop.weight_decay
        self.sums, self.count = dict(content["sums"]), content["count"]
        self.step, self.skipped = step, content["skipped"]

    def _buffers(self) -> dict[str, Tensor]:
        """The buffers that belong to the weights."""
        found: dict[str, Tensor] = {}
        for key, module in self._task.modules().items():
            trained = {name for name, _ in module.named_parameters()}
            kept = module.state_dict()
            found |= {f"{key}.{name}": tensor for name, tensor in kept.items() if name not in trained}
        return found


def _check_same(recipe: TrainingRecipe, out: Path, known: Mapping[str, str]) -> None:
    """Refuse to go on with a run of other data or another architecture, and say in what they differ.

    The settings of the loop and of the loss may change on the way, and paths whose content is `known`.
    """
    try:
        before = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(out / "recipe.json")) from None
    with contextlib.suppress(ValidationError):  # settings that came later meant their defaults
        before = type(recipe).model_validate(before).model_dump(mode="json")
    now = recipe.model_dump(mode="json")
    differing = _leaves(before, known.keys()).items() ^ _leaves(now, known.keys()).items()
    if changed := sorted({name for name, _ in differing}):
        what = f"holds a run of another recipe: {', '.join(changed)} changed"
        raise InputError(what, where=str(out), allowed="changes of `loop` and `loss`, or another folder")


def _leaves(content: Any, free: Collection[str], path: str = "") -> dict[str, str]:
    """The single values of a recipe by their dotted path, less those that may change."""
    if path.split(".", maxsplit=1)[0] in FREE or path in FREE or path in free:
        return {}
    if not isinstance(content, dict):
        return {path: json.dumps(content)}
    return {
        name: leaf
        for key, part in content.items()
        for name, leaf in _leaves(part, free, f"{path}.{key}" if path else key).items()
    }
