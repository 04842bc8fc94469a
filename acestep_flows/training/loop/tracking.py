"""Curves and previews to MLflow: one run for a training, however often it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from acestep_flows import storage
from acestep_flows.mlflow_run import TrackedRun
from acestep_flows.training.loop.recipe import TrainingRecipe

EXPERIMENT = "acestep-flows training"
WHERE = "tracking.json"
"""In the run's folder: which MLflow run it is."""


class TrainingTracking(Protocol):
    """Where a run's numbers go beside its own files."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def files(self, folder: Path) -> None: ...

    def end(self, *, finished: bool) -> None: ...


class Untracked:
    """Goes nowhere."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def files(self, folder: Path) -> None: ...

    def end(self, *, finished: bool) -> None: ...


class MlflowTracking:
    """To MLflow."""

    def __init__(self, uri: str, recipe: TrainingRecipe, out: Path) -> None:
        def began(run: str) -> None:
            storage.write(out / WHERE, json.dumps({"uri": uri, "run": run}).encode())

        self.run = TrackedRun(uri, EXPERIMENT, f"{recipe.kind} {out.name}", run=_before(out, uri), began=began)
        self.run.artifact("recipe.json", (recipe.model_dump_json(indent=2) + "\n").encode())

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.run.metrics(values, step)

    def files(self, folder: Path) -> None:
        self.run.folder(f"previews/{folder.name}", folder)

    def end(self, *, finished: bool) -> None:
        self.run.end("FINISHED" if finished else "KILLED")


def _before(out: Path, uri: str) -> str | None:
    """The MLflow run that an earlier call began."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads((out / WHERE).read_text(encoding="utf-8"))
        if content["uri"] == uri:
            return str(content["run"])
    return None


@contextmanager
def tracking(uri: str | None, recipe: TrainingRecipe, out: Path) -> Iterator[TrainingTracking]:
    """The tracking that `uri` asks for; None: none."""
    if uri is None:
        yield Untracked()
        return
    tracker = MlflowTracking(uri, recipe, out)
    try:
        yield tracker
    except BaseException:
        tracker.run.end("FAILED")
        raise
    finally:
        tracker.run.close()
