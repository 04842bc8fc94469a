"""What a kind of training gives to the loop, and what the loop says on its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class Task(Protocol):
    """One kind of training, over one recipe."""

    device: str

    def modules(self) -> dict[str, nn.Module]:
        """What is trained: of these, the parameters that require a gradient, and the buffers, are saved."""

    def batch(self, index: int) -> Any:
        """The batch of this number: a pure function of the recipe. Called in a thread, ahead of need."""

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """What is minimised as "loss", and whatever else is worth a curve. Draws from torch's own generators."""

    def content(self) -> Mapping[str, str]:
        """Digests of what lies behind paths of the recipe and decides what is learnt, by the key in the recipe."""

    def describe(self, index: int) -> str:
        """The batch of this number in words: what to look at when its loss is not a number."""

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        """Write pictures or sound into `folder`; gives measurements. The averaged weights are in place."""

    def export(self, folder: Path) -> None:
        """Write the trained part into `folder`. The averaged weights are in place."""


@dataclass(frozen=True)
class TrainingProgress:
    """Where the loop is. `text` is something that happened, else empty."""

    step: int
    steps: int
    seconds_per_step: float
    losses: Mapping[str, float] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class TrainingOutcome:
    """How it ended: after `step` steps, `finished` or stopped on request with its state saved."""

    step: int
    finished: bool
    state: Path


TrainingWatch = Callable[[TrainingProgress], None]
