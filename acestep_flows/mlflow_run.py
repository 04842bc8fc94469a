"""One run in MLflow, written by a thread of its own.

Tracking never delays or stops the work that is tracked. Calls put notes into a queue and return. If MLflow is not
installed or cannot be opened, the tracking ends with one warning. A note that cannot be written is told once and
dropped; after several in a row the tracking ends.
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

from acestep_flows.errors import FlowsError
from acestep_flows.optional_packages import how_to_install

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

WAITING = 1000
"""Most notes in the queue; further ones are dropped."""
PATIENCE = 60.0
"""Seconds that `close` waits for the notes to be written."""
FAILURES = 10
"""Notes in a row that cannot be written before the tracking ends: the store may be back before that."""
EXPERIMENTS = 100
"""Names that are tried for an experiment, where those before were deleted."""
LONGEST = 500  # characters of a parameter or of a warning

Note = Callable[["MlflowClient", str], None]
"""An action on the store, called with a client and the id of the run."""


class TrackedRun:
    """A run in an MLflow store. Every method but `close` returns at once.

    Args:
        uri: URI of the tracking store.
        experiment: name of the run's experiment, which is created if it does not exist.
        name: name of the run.
        run: id of an earlier run to continue; None creates a new one.
        artifacts: URI for the experiment's files; None leaves the place to the store.
        began: called once with the run's id, from the thread.

    Attributes:
        dropped: notes lost because the queue was full.
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
        self._status = "KILLED"  # the status of a run without a call of `end`
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters of the run. A value that differs from an earlier one is stored as the tag `now.NAME`."""
        texts = {name: str(value)[:LONGEST] for name, value in values.items() if value not in (None, "")}

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.exceptions import MlflowException

            for name, value in texts.items():
                try:
                    client.log_param(run, name, value)
                except MlflowException:
                    client.set_tag(run, f"now.{name}", value)

        self.put(note)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers for `step`, with the present time."""
        milliseconds = int(time.time() * 1000)

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.entities import Metric

            client.log_batch(run, metrics=[Metric(name, value, milliseconds, step) for name, value in values.items()])

        self.put(note)

    def artifact(self, path: str, content: bytes) -> None:
        """Store `content` as the run's file `path`."""

        def note(client: MlflowClient, run: str) -> None:
            folder, _, name = path.rpartition("/")
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch, name)
                file.write_bytes(content)
                client.log_artifact(run, str(file), folder or None)

        self.put(note)

    def folder(self, path: str, source: Path) -> None:
        """Store the files of the folder `source` under `path`. They are read when the note is written."""
        self.put(lambda client, run: client.log_artifacts(run, str(source), path))

    def put(self, note: Note) -> None:
        """Queue a note, or drop it where the queue is full or the tracking has ended."""
        if not self._thread.is_alive():
            return
        try:
            self._notes.put_nowait(note)
        except queue.Full:
            self.dropped += 1

    def end(self, status: str) -> None:
        """Set the run's final status: FINISHED, FAILED, or KILLED for a run that can be continued."""
        self._status = status

    def close(self, patience: float = PATIENCE) -> None:
        """Write the queued notes, for at most `patience` seconds, and end the thread."""
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
            self._write_notes(client, run)
            client.set_terminated(run, self._status)
        except ImportError:
            log.warning("no tracking: mlflow is not installed; get it with: %s", how_to_install("tracking"))
        except Exception as error:  # noqa: BLE001 - no failure of a tracking store stops the work
            log.warning("tracking at %s has ended: %s", self._uri, _brief(error))

    def _write_notes(self, client: MlflowClient, run: str) -> None:
        """Write notes until `close`. Raises what the store raises, after many failures in a row."""
        failures, told = 0, False
        while (note := self._notes.get()) is not None:
            try:
                note(client, run)
                failures = 0
            except Exception as error:
                failures += 1
                if failures == FAILURES:
                    raise
                if not told:
                    log.warning("tracking at %s: not everything is written: %s", self._uri, _brief(error))
                told = True

    def _open(self) -> tuple[MlflowClient, str]:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # telemetry would report every run
        # By default a server that does not answer is asked for minutes, and the end of the work would wait for that.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)  # failures are told here, once
        client = MlflowClient(tracking_uri=self._uri)
        if self._run is not None:
            try:
                client.update_run(self._run, status="RUNNING")
            except MlflowException:  # another store, or an emptied one
                self._run = None
        if self._run is None:
            self._run = client.create_run(self._experiment_id(client), run_name=self._name).info.run_id
        return client, self._run

    def _experiment_id(self, client: MlflowClient) -> str:
        """The experiment, made where there is none. One that was deleted keeps its name, so the next name is taken."""
        for number in range(1, EXPERIMENTS + 1):
            name = self._experiment if number == 1 else f"{self._experiment} ({number})"
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                return str(client.create_experiment(name, self._artifacts))
            if experiment.lifecycle_stage == "active":
                return str(experiment.experiment_id)
        raise FlowsError(f"the experiment {self._experiment} was deleted {EXPERIMENTS} times")


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:LONGEST]
