"""Curves and previews to MLflow, from a thread of its own: a tracking server that hangs or fails never stops a run."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from acestep_flows.training.recipe import Recipe

log = logging.getLogger(__name__)

WAITING = 1000
"""Entries that may wait; more are dropped."""
CLOSING_SECONDS = 60.0


class Tracking(Protocol):
    """Where a run's numbers go beside its own files."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def files(self, folder: Path) -> None: ...


class Untracked:
    """Goes nowhere."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None: ...

    def files(self, folder: Path) -> None: ...


class MlflowTracking:
    """One MLflow run, written by a thread."""

    def __init__(self, uri: str, recipe: Recipe, out: Path) -> None:
        self._entries: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING)
        self._uri, self._recipe, self._out = uri, recipe, out
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._put(lambda: self._client.log_metrics(dict(values), step=step))

    def files(self, folder: Path) -> None:
        self._put(lambda: self._client.log_artifacts(str(folder), f"previews/{folder.name}"))

    def close(self) -> None:
        self._put(None)
        self._thread.join(CLOSING_SECONDS)

    def _put(self, entry: Callable[[], None] | None) -> None:
        try:
            self._entries.put_nowait(entry)
        except queue.Full:
            log.debug("tracking is behind; an entry is dropped")

    def _work(self) -> None:
        try:
            import mlflow

            self._client = mlflow
            mlflow.set_tracking_uri(self._uri)
            mlflow.set_experiment("acestep-flows training")
            mlflow.start_run(run_name=f"{self._recipe.kind} {self._out.name}")
            mlflow.log_dict(self._recipe.model_dump(mode="json"), "recipe.json")
            while (entry := self._entries.get()) is not None:
                entry()
            mlflow.end_run()
        except Exception as error:  # noqa: BLE001 whatever a tracking library raises, training goes on
            log.warning("tracking at %s stopped: %s", self._uri, error)


@contextmanager
def tracking(uri: str | None, recipe: Recipe, out: Path) -> Iterator[Tracking]:
    """The tracking that `uri` asks for; None: none."""
    if uri is None:
        yield Untracked()
        return
    tracker = MlflowTracking(uri, recipe, out)
    try:
        yield tracker
    finally:
        tracker.close()
