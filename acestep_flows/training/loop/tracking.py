"""Curves and previews in MLflow. A training is one MLflow run, however often it was interrupted."""

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
RUN_FILE = "tracking.json"
"""File in the run's folder that holds the tracking URI and the id of the MLflow run."""


class TrainingTracking(Protocol):
    """A place for a run's numbers and previews, beside the run's own files."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def files(self, folder: Path) -> None: ...

    def end(self, *, finished: bool) -> None: ...


class Untracked:
    """Tracks nothing."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def files(self, folder: Path) -> None: ...

    def end(self, *, finished: bool) -> None: ...


class MlflowTracking:
    """Tracks a training in the MLflow store at `uri`. Failures of the store never stop the training."""

    def __init__(self, uri: str, recipe: TrainingRecipe, out: Path) -> None:
        def began(run: str) -> None:
            storage.write(out / RUN_FILE, json.dumps({"uri": uri, "run": run}).encode())

        self.run = TrackedRun(uri, EXPERIMENT, f"{recipe.kind} {out.name}", run=_earlier_run(out, uri), began=began)
        self.run.artifact("recipe.json", (recipe.model_dump_json(indent=2) + "\n").encode())

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.run.metrics(values, step)

    def files(self, folder: Path) -> None:
        self.run.folder(f"previews/{folder.name}", folder)

    def end(self, *, finished: bool) -> None:
        self.run.end("FINISHED" if finished else "KILLED")


def _earlier_run(out: Path, uri: str) -> str | None:
    """The id of the MLflow run that an earlier call began in the store at `uri`."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads((out / RUN_FILE).read_text(encoding="utf-8"))
        if content["uri"] == uri:
            return str(content["run"])
    return None


@contextmanager
def tracking(uri: str | None, recipe: TrainingRecipe, out: Path) -> Iterator[TrainingTracking]:
    """Track a training at `uri`, or not at all where it is None. An exception inside the block marks the run failed."""
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
