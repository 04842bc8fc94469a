"""A job in MLflow: one run for each job, written by a thread of its own.

Nothing here is on the way of a song: calls put notes into a queue and return. Whatever MLflow raises, or if it is not
installed, ends the tracking with one warning and not the job.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows.bulk.job import Job, Shard
from acestep_flows.bulk.place import Place
from acestep_flows.bulk.progress import Progress
from acestep_flows.errors import StorageError

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "acestep-flows bulk"
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
OFF = "off"

WAITING = 500
"""Notes that may wait; more are dropped."""
PAUSE = 5.0
"""Seconds between two readings of the progress."""
PATIENCE = 30.0
"""Seconds that the end of a job waits for notes to be written."""
LONGEST = 500  # characters of a parameter

Note = Callable[["MlflowClient", str], None]
"""What is done with a client and the id of the run."""


@dataclass(frozen=True)
class Lineage:
    """A data set that a job read or made."""

    name: str
    source: str
    digest: str
    role: str


class Tracking:
    """The run of one job. Every method returns at once.

    Args:
        uri: of the tracking store.
        name: of the run.
        run: id of the run that an earlier call of the same job began; None: a new one.
        artifacts: where files go; None: where the store wants them.
        began: called once with the run's id, from the thread.
    """

    def __init__(
        self,
        uri: str,
        name: str,
        *,
        run: str | None = None,
        artifacts: str | None = None,
        began: Callable[[str], None] = lambda run: None,
    ) -> None:
        self._uri, self._name, self._run, self._artifacts, self._began = uri, name, run, artifacts, began
        self._notes: queue.Queue[Note | None] = queue.Queue(WAITING)
        self._status = "KILLED"  # of a run that nobody ended
        self._last = 0.0
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def params(self, values: Mapping[str, object]) -> None:
        """What the job is. A value that has changed since an earlier call becomes a tag."""
        kept = {name: str(value)[:LONGEST] for name, value in values.items() if value not in (None, "")}

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.exceptions import MlflowException

            for name, value in kept.items():
                try:
                    client.log_param(run, name, value)
                except MlflowException:
                    client.set_tag(run, f"now.{name}", value)

        self._put(note)

    def watch(self, progress: Progress) -> None:
        """How the job goes; read every few seconds."""
        now = time.monotonic()
        if now - self._last >= PAUSE or progress.phase == "ended":
            self._last = now
            self.metrics(readings(progress), progress.done + progress.failed)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at one moment; `step` is the rows that have ended, which goes on where a job was resumed."""
        moment = int(time.time() * 1000)

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.entities import Metric

            client.log_batch(run, metrics=[Metric(name, value, moment, step) for name, value in values.items()])

        self._put(note)

    def artifact(self, path: str, content: bytes) -> None:
        """A file of the run."""

        def note(client: MlflowClient, run: str) -> None:
            folder, _, name = path.rpartition("/")
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch, name)
                file.write_bytes(content)
                client.log_artifact(run, str(file), folder or None)

        self._put(note)

    def lineage(self, *sets: Lineage) -> None:
        """Data sets that the job read or made."""

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            told = [
                DatasetInput(
                    Dataset(one.name[:LONGEST], one.digest[:36] or "none", "local", json.dumps({"uri": one.source})),
                    [InputTag("mlflow.data.context", one.role)],
                )
                for one in sets
            ]
            client.log_inputs(run, datasets=told)

        self._put(note)

    def end(self, status: str) -> None:
        """How the job ended: FINISHED, FAILED or KILLED (it will go on)."""
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

    def _put(self, note: Note) -> None:
        if not self._thread.is_alive():
            return
        try:
            self._notes.put_nowait(note)
        except queue.Full:
            self.dropped += 1

    def _work(self) -> None:
        try:
            client, run = self._open()
            self._began(run)
            while (note := self._notes.get()) is not None:
                note(client, run)
            client.set_terminated(run, self._status)
        except ImportError:
            log.warning("no tracking: mlflow is not installed (it comes with the bulk extra)")
        except Exception as error:  # noqa: BLE001 - whatever a tracking store raises, the job goes on
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
            experiment = client.get_experiment_by_name(EXPERIMENT)
            id = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT, self._artifacts)
            self._run = client.create_run(id, run_name=self._name).info.run_id
        return client, self._run


def readings(progress: Progress) -> dict[str, float]:
    """The numbers of a progress, by the names they have in MLflow."""
    told = {
        "rows_done": progress.done,
        "rows_failed": progress.failed,
        "attempts": progress.attempts,
        "retaken": progress.retaken,
        "rows_per_hour": progress.rows_per_hour,
        "audio_seconds": progress.audio_seconds,
        "audio_seconds_per_second": progress.speed,
        "elapsed_seconds": progress.elapsed,
    }
    return {name: float(value) for name, value in told.items()} | {
        f"busy.{_metric_name(name)}": float(share) for name, share in progress.busy.items()
    }


@contextmanager
def tracking(
    uri: str | None, place: Place, job: Job, shard: Shard | None = None, more: Mapping[str, object] | None = None
) -> Iterator[Tracking | None]:
    """The tracking of a job, going on with the run that an earlier call began; None where there is none.

    Args:
        uri: any that MLflow knows; None: a SQLite file in the job's folder, if that is on this machine; `off`: none.
        more: parameters beside those of the job: the pool, versions.
    """
    local = place.local
    if uri == OFF or (uri is None and local is None):
        yield None
        return
    artifacts = None
    if uri is None and local is not None:
        uri, artifacts = f"sqlite:///{local / DATABASE}", (local / ARTIFACTS).as_uri()
    assert uri is not None
    where = "tracking.json" if shard is None or shard.of == 1 else f"tracking-{shard.number}-of-{shard.of}.json"
    before = _before(place, where)

    def began(run: str) -> None:
        place.write(where, json.dumps({"uri": uri, "run": run}).encode())

    name = f"{job.graph} {job.digest[:8]}" if shard is None or shard.of == 1 else f"{job.graph} {shard}"
    run = before["run"] if before.get("uri") == uri else None
    track = Tracking(uri, name, run=run, artifacts=artifacts, began=began)
    track.params(_params(job, shard) | dict(more or {}))
    track.artifact("graph.json", json.dumps(dict(job.content), indent=1, ensure_ascii=False).encode())
    if job.source.url:
        track.lineage(Lineage(job.source.url.rpartition("/")[2], job.source.url, job.source.digest, "manifest"))
    try:
        yield track
    finally:
        track.close()


def _params(job: Job, shard: Shard | None) -> dict[str, object]:
    return {
        "graph": job.graph,
        "graph_digest": job.digest,
        "model": job.model,
        **{f"weights.{part}": digest for part, digest in job.weights.items()},
        "manifest": job.source.url,
        "manifest_digest": job.source.digest,
        "rows": job.rows,
        "seed": job.seed,
        "constants": json.dumps(dict(job.constants), ensure_ascii=False) if job.constants else "",
        "sweeps": ", ".join(f"{sweep.name} ({len(sweep.values)})" for sweep in job.sweeps),
        "gates": ", ".join(map(str, job.gates)),
        "retakes": job.retakes,
        "layout": job.layout,
        "audio": job.audio,
        "shard": str(shard) if shard is not None and shard.of > 1 else "",
    }


def _before(place: Place, path: str) -> dict[str, Any]:
    try:
        content = json.loads(place.read(path) or b"{}")
    except (StorageError, ValueError):
        return {}
    return content if isinstance(content, dict) and {"uri", "run"} <= content.keys() else {}


def _metric_name(name: str) -> str:
    """MLflow takes letters, digits, dashes, dots, blanks and slashes."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-. /") else "_" for letter in name)
