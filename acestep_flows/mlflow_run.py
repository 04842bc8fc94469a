"""One run in MLflow, written by a thread of its own.

Nothing here is on the way of what is tracked: calls put notes into a queue and return. Whatever MLflow raises, or if it
is not installed, ends the tracking with one warning and not the work.
"""

from __future__ import annotations

import logging
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

WAITING = 1000
"""Notes that may wait; more are dropped."""
PATIENCE = 60.0
"""Seconds that the end of the work waits for notes to be written."""
LONGEST = 500  # characters of a parameter

Note = Callable[["MlflowClient", str], None]
"""What is done with a client and the id of the run."""


class TrackedRun:
    """A run. Every method but `close` returns at once.

    Args:
        uri: of the tracking store.
        experiment: what the run belongs to; made where there is none of the name.
        name: of the run.
        run: id of the run that earlier work began and this goes on with; None: a new one.
        artifacts: where files go; None: where the store wants them.
        began: called once with the run's id, from the thread.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        name: str,
        *,
        run: str | None = None,
        artifacts: str | None = None,
        began: Callable[[str], None] = lambda run: None,
    ) -> None:
        self._uri, self._experiment, self._name = uri, experiment, name
        self._run, self._artifacts, self._began = run, artifacts, began
        self._notes: queue.Queue[Note | None] = queue.Queue(WAITING)
        self._status = "KILLED"  # of a run that nobody ended
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, object]) -> None:
        """What the run is. A value that has changed since an earlier call becomes a tag."""
        kept = {name: str(value)[:LONGEST] for name, value in values.items() if value not in (None, "")}

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.exceptions import MlflowException

            for name, value in kept.items():
                try:
                    client.log_param(run, name, value)
                except MlflowException:
                    client.set_tag(run, f"now.{name}", value)

        self.put(note)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at one moment."""
        moment = int(time.time() * 1000)

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.entities import Metric

            client.log_batch(run, metrics=[Metric(name, value, moment, step) for name, value in values.items()])

        self.put(note)

    def artifact(self, path: str, content: bytes) -> None:
        """A file of the run."""

        def note(client: MlflowClient, run: str) -> None:
            folder, _, name = path.rpartition("/")
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch, name)
                file.write_bytes(content)
                client.log_artifact(run, str(file), folder or None)

        self.put(note)

    def folder(self, path: str, source: Path) -> None:
        """What lies in the folder `source` by the time that it is this note's turn."""
        self.put(lambda client, run: client.log_artifacts(run, str(source), path))

    def put(self, note: Note) -> None:
        """Have something done with the run."""
        if not self._thread.is_alive():
            return
        try:
            self._notes.put_nowait(note)
        except queue.Full:
            self.dropped += 1

    def end(self, status: str) -> None:
        """How it ended: FINISHED, FAILED or KILLED (it will go on)."""
        self._status = status

    def close(self, patience: float = PATIENCE) -> None:
        """Write what waits, for `patience` seconds at most."""
        deadline = time.monotonic() + patience
        while self._thread.is_alive() and time.monotonic() < deadline:
            try:
                self._notes.put(None, timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            log.warning("tracking at %s: not everything was written in %g s", self._uri, patience)

    def _work(self) -> None:
        try:
            client, run = self._open()
            self._began(run)
            while (note := self._notes.get()) is not None:
                note(client, run)
            client.set_terminated(run, self._status)
        except ImportError:
            log.warning("no tracking: mlflow is not installed (it comes with the bulk extra)")
        except Exception as error:  # noqa: BLE001 - whatever a tracking store raises, the work goes on
            log.warning("tracking at %s has ended: %s", self._uri, " ".join(str(error).split())[:LONGEST])

    def _open(self) -> tuple[MlflowClient, str]:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell its makers of every run
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        client = MlflowClient(tracking_uri=self._uri)
        if self._run is not None:
            try:
                client.update_run(self._run, status="RUNNING")
            except MlflowException:  # the store is another one, or was emptied
                self._run = None
        if self._run is None:
            found = client.get_experiment_by_name(self._experiment)
            id = found.experiment_id if found else client.create_experiment(self._experiment, self._artifacts)
            self._run = client.create_run(id, run_name=self._name).info.run_id
        return client, self._run
