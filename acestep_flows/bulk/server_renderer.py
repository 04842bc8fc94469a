"""Songs from a running server: the server renders, this process measures, judges and stores."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from acestep_flows.audio import read, tags
from acestep_flows.bulk.driver import AttemptEnd, Route
from acestep_flows.bulk.job import BulkJob
from acestep_flows.bulk.progress_meter import Meter
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.row_work import Attempt, JobWork, RenderedSong, failed
from acestep_flows.client import Client
from acestep_flows.client.records import Run
from acestep_flows.errors import Cancelled, Conflict, FlowsError, InputError, StageError, Unreachable
from acestep_flows.graph.language.types import record_type
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.runtime.bulk.segment_actor import Busy
from acestep_flows.stages.ports import PortType

CONCURRENCY = 8
"""Runs at the server at once: enough for its step engine to share forward passes."""

FIRST_PATIENCE = 3.0
"""Seconds to wait for a server that was never there, or that a row has waited for already."""

SERVER = "server"
"""Stands for all processes of the server in the progress."""


class ServerRenderer:
    """The `Renderer` of a server.

    Each run is submitted under a key made of row and attempt, so a resumed job finds the runs it began.

    Args:
        work: of the job.
        client: of the server; closed in the end.
        concurrency: runs at once.
        must_answer: end the job, without giving up a row, where the server does not answer, refuses the key or has no
            graph of this name.
    """

    def __init__(
        self, work: JobWork, client: Client, *, concurrency: int = CONCURRENCY, must_answer: bool = False
    ) -> None:
        self._work, self._client, self._concurrency = work, client, concurrency
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="server-renderer")
        self._lock = threading.Lock()
        self._runs: set[str] = set()
        self._seconds = 0.0
        self._closed = False
        self._must_answer = must_answer

    def route(self, plan: Plan) -> Route:
        """Empty: the server decides which processes work on a plan."""
        return ()

    def render(
        self, attempts: Sequence[Attempt], routes: Collection[Route], meter: Meter, *, alone: bool
    ) -> Generator[AttemptEnd, None, None]:
        """Results of the attempts, as they end. The server tries calls alone by itself, so `alone` has no effect.

        Raises:
            FlowsError: the server `must_answer` and does not, or refuses all rows.
        """
        self._ask()
        meter.begin({SERVER: self._concurrency})
        waiting = iter(attempts)
        active: dict[Future[ResultRow], tuple[Attempt, float]] = {}
        while True:
            while len(active) < 2 * self._concurrency and (attempt := next(waiting, None)) is not None:
                active[self._threads.submit(self._make, attempt)] = (attempt, time.time())
            if not active:
                return
            for future in wait(active, return_when=FIRST_COMPLETED).done:
                attempt, began = active.pop(future)
                row = future.result()
                if row.code == Unreachable.code:
                    self._ask()  # the row has waited already
                meter.worked(began, (Busy(SERVER, SERVER, self._seconds),))
                yield attempt, row

    def close(self) -> None:
        """Cancel the runs in progress and close the client."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for run in list(self._runs):
            try:
                self._client.cancel(run)
            except FlowsError:
                break  # the server does not answer, or the run has ended
        self._threads.shutdown(wait=True)
        self._client.close()

    def _ask(self) -> None:
        """Find out whether the server answers within seconds, takes the key and has the graph.

        Raises:
            FlowsError: it does not; a Conflict where it has another graph of this name.
        """
        if self._must_answer:
            meet_server(self._client, self._work.job)

    def _make(self, attempt: Attempt) -> ResultRow:
        row, started = self._work.new_result(attempt), time.monotonic()
        try:
            song = self._song(attempt)
            return self._work.store_song(replace(row, stage_seconds=_stage_seconds(song.recipe)), attempt, song)
        except FlowsError as error:
            return failed(row, error)
        except Exception as error:  # noqa: BLE001 - one bad row never fails the job
            return failed(row, StageError("", "finish", error))
        finally:
            with self._lock:
                self._seconds += time.monotonic() - started

    def _song(self, attempt: Attempt) -> RenderedSong:
        """Have the server make the song, and fetch it.

        Raises:
            FlowsError: the server's error, or a Conflict where it has another graph of this name.
        """
        job = self._work.job
        run = self._run(attempt)
        with tempfile.TemporaryDirectory() as folder:
            content = self._client.fetch_output(run.id, job.audio_output, Path(folder)).read_bytes()
        recipe = tags.read(content).recipe
        digest = str(recipe.get("graph", {}).get("digest"))
        if digest != job.digest:
            raise _another_graph(job, digest)
        return RenderedSong(read.audio(content), recipe, content)

    def _run(self, attempt: Attempt) -> Run:
        """The run of an attempt at the server, succeeded."""
        job, row = self._work.job, attempt.row
        key = hashlib.sha256(f"{row.id}\0{attempt.attempt}\0{attempt.retake}\0{attempt.recipe}".encode()).hexdigest()
        inputs = record_type(self._work.scope.graph.inputs).map_files(attempt.inputs, _upload_path)
        run = self._client.submit(job.graph, inputs, format=job.audio, idempotency_key=f"bulk-{key[:40]}")
        with self._lock:
            self._runs.add(run.id)
        try:
            if self._closed:
                raise Cancelled("the job was stopped")
            run = self._client.wait(run.id)
        finally:
            with self._lock:
                self._runs.discard(run.id)
        if run.failure is not None:
            raise run.failure
        return run


def meet_server(client: Client, job: BulkJob) -> None:
    """Ask a server for the graph of a job, before any row of it.

    Raises:
        Unreachable: it does not answer within seconds.
        NotFound: it has no graph of this name.
        Conflict: it has another graph of this name. Servers of 0.1.0 do not tell; then the first song does.
    """
    digest = client.with_patience(min(FIRST_PATIENCE, client.patience)).graph(job.graph).get("digest")
    if digest is not None and digest != job.digest:
        raise _another_graph(job, str(digest))


def _another_graph(job: BulkJob, digest: str) -> Conflict:
    return Conflict(
        f"the server's graph {job.graph} is another one than here ({digest[:12]}, not {job.digest[:12]}); "
        "acestep-flows serve --graphs FOLDER gives a server the one that is here"
    )


def _upload_path(path: str, kind: PortType, where: str) -> Path:
    """A file of a row as the client uploads it."""
    if "://" in path:
        raise InputError(f"{path[:200]!r}", where=where, allowed="a local file, where a server renders")
    return Path(path)


def _stage_seconds(recipe: Mapping[str, Any]) -> dict[str, float]:
    """Seconds by stage, from the nodes that the server computed."""
    seconds: dict[str, float] = {}
    for node in recipe.get("nodes", ()):
        if (stage := node.get("stage")) and node.get("source") == "computed":
            seconds[stage] = round(seconds.get(stage, 0.0) + float(node.get("seconds", 0.0)), 4)
    return seconds
