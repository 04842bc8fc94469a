"""The interface between the loop and a kind of training, and the progress that the loop reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


class Task(Protocol):
    """One kind of training with one recipe. `device` is where it computes."""

    device: str

    def modules(self) -> dict[str, nn.Module]:
        """The trained modules by name. A state holds their buffers, and their parameters that require a gradient."""

    def batch(self, index: int) -> Any:
        """Batch number `index`: a pure function of the recipe. Called in a thread, in advance."""

    def loss(self, batch: Any) -> dict[str, Tensor]:
        """The minimised "loss" and other terms for the curve, as scalars. Draws from torch's own generators."""

    def content(self) -> Mapping[str, str]:
        """Digests of the files that the recipe names and training depends on, by recipe key."""

    def former_content(self) -> Mapping[str, str]:
        """Other digests of the same content by recipe key, as states of 0.1.0 have them."""

    def describe(self, index: int) -> str:
        """Batch number `index` in words, for the error when its loss is not finite."""

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        """Write pictures or audio into `folder`. Returns measurements. The averaged weights are in place."""

    def export(self, folder: Path) -> None:
        """Write the trained part into `folder`. The averaged weights are in place."""


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of the loop after `step` of `steps` steps. `text` reports an event, or is empty."""

    step: int
    steps: int
    seconds_per_step: float
    losses: Mapping[str, float] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True)
class TrainingOutcome:
    """The end of a run after `step` steps: `finished`, or stopped on request with its state saved in `state`."""

    step: int
    finished: bool
    state: Path


TrainingWatch = Callable[[TrainingProgress], None]
