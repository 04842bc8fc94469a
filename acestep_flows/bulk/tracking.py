"""Track a job in MLflow: one run for each job, however often it is resumed."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from acestep_flows.bulk.job import BulkJob, Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Totals
from acestep_flows.bulk.progress import JobProgress
from acestep_flows.errors import StorageError
from acestep_flows.mlflow_run import LONGEST, TrackedRun

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

EXPERIMENT = "acestep-flows bulk"
DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
OFF = "off"

ELAPSED, RENDERING = "elapsed_seconds", "rendering_seconds"
"""Numbers of a job that only its tracking knows of earlier calls."""

NOTHING = Totals()
PAUSE = 5.0
"""Seconds between two readings of the progress."""


@dataclass(frozen=True)
class Lineage:
    """A data set that a job read or made."""

    name: str
    source: str
    digest: str
    role: str


class JobTracking(TrackedRun):
    """The MLflow run of one job. Every method but `close` returns at once.

    Attributes:
        before: what earlier calls of the job did.
    """

    before = NOTHING
    _last = 0.0
    _seconds_before: Mapping[str, float] | None = None

    def watch(self, progress: JobProgress) -> None:
        """Log the progress of the whole job, at most once in `PAUSE` seconds."""
        now = time.monotonic()
        if now - self._last < PAUSE and progress.phase != "ended":
            return
        self._last = now
        milliseconds, step = int(time.time() * 1000), progress.done + progress.failed

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.entities import Metric

            if self._seconds_before is None:  # the first note of this call: the store has those of earlier calls
                self._seconds_before = dict(client.get_run(run).data.metrics)
            numbers = readings(progress, self.before, self._seconds_before)
            client.log_batch(
                run, metrics=[Metric(name, number, milliseconds, step) for name, number in numbers.items()]
            )

        self.put(note)

    def lineage(self, *sets: Lineage) -> None:
        """Log data sets that the job read or made."""

        def note(client: MlflowClient, run: str) -> None:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            datasets = [
                DatasetInput(
                    Dataset(data.name[:LONGEST], data.digest[:36] or "none", "local", json.dumps({"uri": data.source})),
                    [InputTag("mlflow.data.context", data.role)],
                )
                for data in sets
            ]
            client.log_inputs(run, datasets=datasets)

        self.put(note)


def readings(
    progress: JobProgress, before: Totals = NOTHING, stored: Mapping[str, float] = MappingProxyType({})
) -> dict[str, float]:
    """The numbers of a job by their names in MLflow: of all its calls together, but for the busy shares.

    Args:
        progress: of this call.
        before: what earlier calls did.
        stored: the numbers that earlier calls logged, for the seconds that they took.
    """
    elapsed = stored.get(ELAPSED, 0.0)
    rendering = stored.get(RENDERING, elapsed) + progress.rendering  # 0.1.0 did not log it
    audio = before.audio_seconds + progress.audio_seconds
    numbers = {
        "rows_done": progress.done,
        "rows_failed": progress.failed,
        "attempts": before.attempts + progress.attempts,
        "retaken": before.retaken + progress.retaken,
        "rows_per_hour": 3600 * (before.settled + progress.settled) / rendering if rendering else 0.0,
        "audio_seconds": audio,
        "audio_seconds_per_second": audio / rendering if rendering else 0.0,
        ELAPSED: elapsed + progress.elapsed,
        RENDERING: rendering,
    }
    return {name: float(value) for name, value in numbers.items()} | {
        f"busy.{_metric_name(name)}": float(share) for name, share in progress.busy.items()
    }


@contextmanager
def tracking(
    uri: str | None,
    job_folder: JobFolder,
    job: BulkJob,
    shard: Shard | None = None,
    more: Mapping[str, object] | None = None,
    totals: Totals = NOTHING,
) -> Iterator[JobTracking | None]:
    """The tracking of a job; it goes on with the run that an earlier call began. None: tracking is off.

    Args:
        uri: any that MLflow knows; None: a SQLite file in the job's folder, if that is local; `off`: no tracking.
        more: parameters beside those of the job: the pool, versions.
        totals: what earlier calls of the job did.
    """
    local = job_folder.local
    if uri == OFF or (uri is None and local is None):
        yield None
        return
    artifacts = None
    with ExitStack() as stack:
        if uri is None and local is not None:
            uri, artifacts = stack.enter_context(_database(local)), (local / ARTIFACTS).as_uri()
            _follow(local / DATABASE, artifacts)
        assert uri is not None
        yield from _tracked(uri, artifacts, job_folder, job, shard, more or {}, totals)


@contextmanager
def _database(folder: Path) -> Iterator[str]:
    """The URI of the database in a folder. Where a URI cannot hold the path, it goes through a link for as long."""
    if not set("?%#") & set(str(folder)):
        yield f"sqlite:///{folder / DATABASE}"
        return
    with tempfile.TemporaryDirectory(prefix="acestep-flows-") as scratch:
        link = Path(scratch, "job")
        link.symlink_to(folder, target_is_directory=True)
        yield f"sqlite:///{link / DATABASE}"


def _follow(database: Path, artifacts: str) -> None:
    """Have the runs of a folder that was moved find their files where they are now: MLflow keeps whole paths."""
    if not database.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection, connection:
            found = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
            for (before,) in found:
                if before and before != artifacts and before.rpartition("/")[2] == ARTIFACTS:
                    moved = "SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?"
                    size = len(before) + 1
                    connection.execute(f"UPDATE runs {moved}", (artifacts, size, size, f"{before}/"))
                    connection.execute(
                        "UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (artifacts, before)
                    )
    except sqlite3.Error as error:
        log.warning("%s: the files of earlier calls are not found from there: %s", database, error)


def _tracked(
    uri: str,
    artifacts: str | None,
    job_folder: JobFolder,
    job: BulkJob,
    shard: Shard | None,
    more: Mapping[str, object],
    totals: Totals,
) -> Iterator[JobTracking]:
    """The tracking of a job in a store; it is closed in the end."""
    where = "tracking.json" if shard is None or shard.of == 1 else f"tracking-{shard.number}-of-{shard.of}.json"
    before = _before(job_folder, where)

    def began(run: str) -> None:
        job_folder.write(where, json.dumps({"uri": uri, "run": run}).encode())

    name = f"{job.graph} {job.digest[:8]}" if shard is None or shard.of == 1 else f"{job.graph} {shard}"
    # The folder's own store may have been named by another path: the folder was moved, or is called from elsewhere.
    same = str(before.get("uri", "")).endswith(f"/{DATABASE}") if artifacts is not None else before.get("uri") == uri
    track = JobTracking(uri, EXPERIMENT, name, run=before["run"] if same else None, artifacts=artifacts, began=began)
    track.before = totals
    track.params(_params(job, shard) | dict(more))
    track.artifact("graph.json", json.dumps(dict(job.content), indent=1, ensure_ascii=False).encode())
    if job.source.url:
        track.lineage(Lineage(job.source.url.rpartition("/")[2], job.source.url, job.source.digest, "manifest"))
    try:
        yield track
    finally:
        track.close()


def _params(job: BulkJob, shard: Shard | None) -> dict[str, object]:
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


def _before(job_folder: JobFolder, path: str) -> dict[str, Any]:
    try:
        content = json.loads(job_folder.read(path) or b"{}")
    except (StorageError, ValueError):
        return {}
    return content if isinstance(content, dict) and {"uri", "run"} <= content.keys() else {}


def _metric_name(name: str) -> str:
    """MLflow takes letters, digits, dashes, dots, blanks and slashes."""
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-. /") else "_" for letter in name)
