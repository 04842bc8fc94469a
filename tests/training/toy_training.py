"""A task that trains in microseconds: fit a line to points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acestep_flows.training.loop.recipe import LoopSettings, TrainingRecipe


class ToyTask:
    """Learns 2 x + 1, with dropout so that torch's generator matters.

    Args:
        bad: numbers of batches whose loss is not finite.
        content: digests of the files that the recipe names.
        former_content: as states of 0.1.0 have them.
    """

    def __init__(
        self,
        bad: tuple[int, ...] = (),
        content: Mapping[str, str] | None = None,
        former_content: Mapping[str, str] | None = None,
    ) -> None:
        self.device = "cpu"
        self._content, self._former_content = content or {}, former_content or {}
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
        self._bad = bad
        self.exported: dict[str, Tensor] = {}

    def modules(self) -> dict[str, nn.Module]:
        return {"line": self.network}

    def batch(self, index: int) -> Tensor:
        x = torch.randn(16, 1, generator=torch.Generator().manual_seed(index))
        return x * torch.nan if index in self._bad else x

    def content(self) -> Mapping[str, str]:
        return self._content

    def former_content(self) -> Mapping[str, str]:
        return self._former_content

    def describe(self, index: int) -> str:
        return f"points {index}"

    def loss(self, batch: Tensor) -> dict[str, Tensor]:
        error = self.network(batch).float() - (2 * batch + 1)
        return {"loss": error.square().mean(), "worst": error.abs().max()}

    def preview(self, folder: Path, step: int) -> Mapping[str, float]:
        (folder / "shown.txt").write_text(str(step))
        torch.randn(step % 5)  # random numbers drawn in a preview must not change the training
        return {"slope": float(self.network(torch.ones(1, 1)) - self.network(torch.zeros(1, 1)))}

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.network.state_dict(), folder / "line.pt")


def toy_recipe(**loop: Any) -> TrainingRecipe:
    """A recipe of 20 steps with a state every 5 steps; `loop` changes its settings."""
    settings = {"steps": 20, "learning_rate": 1e-2, "save_every": 5, "log_every": 3, "precision": "float32"} | loop
    return TrainingRecipe(kind="toy", seed=3, loop=LoopSettings(**settings))
