"""Songs from a server that runs already: it does the work, this process measures, judges and puts in place."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

from acestep_flows.audio import read, tags
from acestep_flows.bulk.driver import AttemptEnd, Route
from acestep_flows.bulk.progress_meter import Meter
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.row_work import Attempt, JobWork, RenderedSong, failed
from acestep_flows.client import Client
from acestep_flows.errors import Cancelled, Conflict, FlowsError, InputError, StageError
from acestep_flows.graph.language.types import record_type
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.runtime.bulk.segment_actor import Busy
from acestep_flows.stages.ports import PortType

CONCURRENCY = 8
"""Runs that are at the server at once: enough for its step engine to share passes."""

LEG = "server"


class ServerRenderer:
    """The `Renderer` of a server.

    A run is asked for under a key made of row and attempt, so a job that goes on finds the runs that it began.

    Args:
        work: of the job.
        client: of the server; closed in the end.
        concurrency: runs at once.
    """

    def __init__(self, work: JobWork, client: Client, *, concurrency: int = CONCURRENCY) -> None:
        self._work, self._client, self._concurrency = work, client, concurrency
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="via")
        self._lock = threading.Lock()
        self._runs: set[str] = set()
        self._seconds = 0.0
        self._closed = False

    def way(self, plan: Plan) -> Route:
        """The server knows its own."""
        return ()

    def render(
        self, tries: Sequence[Attempt], ways: Collection[Route], meter: Meter, *, alone: bool
    ) -> Iterator[AttemptEnd]:
        meter.begin({LEG: self._concurrency})
        waiting = iter(tries)
        under_way: dict[Future[ResultRow], tuple[Attempt, float]] = {}
        while True:
            while len(under_way) < 2 * self._concurrency and (one := next(waiting, None)) is not None:
                under_way[self._threads.submit(self._make, one)] = (one, time.time())
            if not under_way:
                return
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                one, began = under_way.pop(future)
                row = future.result()
                meter.worked(began, (Busy(LEG, LEG, self._seconds),))
                yield one, row

    def close(self) -> None:
        """Stop what is under way, and let go of the server."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for run in list(self._runs):
            try:
                self._client.cancel(run)
            except FlowsError:
                break  # it does not answer, or the run is over
        self._threads.shutdown(wait=True)
        self._client.close()

    def _make(self, one: Attempt) -> ResultRow:
        row, begun = self._work.begun(one), time.monotonic()
        try:
            made = self._song(one)
            return self._work.keep(replace(row, stage_seconds=_stage_seconds(made.recipe)), one, made)
        except FlowsError as error:
            return failed(row, error)
        except Exception as error:  # noqa: BLE001 - one bad row never fails the job
            return failed(row, StageError("", "finish", error))
        finally:
            with self._lock:
                self._seconds += time.monotonic() - begun

    def _song(self, one: Attempt) -> RenderedSong:
        """Have the server make it.

        Raises:
            FlowsError: as the server tells, or that it has another graph of this name.
        """
        job = self._work.job
        key = hashlib.sha256(f"{one.row.id}\0{one.attempt}\0{one.retake}\0{one.recipe}".encode()).hexdigest()
        inputs = record_type(self._work.scope.graph.inputs).map_files(one.inputs, _upload_path)
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
        with tempfile.TemporaryDirectory() as folder:
            content = self._client.fetch_output(run.id, job.audio_output, Path(folder)).read_bytes()
        recipe = tags.read(content).recipe
        found = recipe.get("graph", {}).get("digest")
        if found != job.digest:
            raise Conflict(f"the server's graph {job.graph} is another one ({str(found)[:12]}, not {job.digest[:12]})")
        return RenderedSong(read.audio(content), recipe, content)


def _upload_path(path: str, kind: PortType, where: str) -> Path:
    """A file of a row as the client uploads it."""
    if "://" in path:
        raise InputError(f"{path[:200]!r}", where=where, allowed="a local file, where a server renders")
    return Path(path)


def _stage_seconds(recipe: Mapping[str, Any]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for node in recipe.get("nodes", ()):
        if (stage := node.get("stage")) and node.get("source") == "computed":
            seconds[stage] = round(seconds.get(stage, 0.0) + float(node.get("seconds", 0.0)), 4)
    return seconds
