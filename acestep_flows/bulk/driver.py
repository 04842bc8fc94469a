"""A job under way: which rows are still to be made, in which order, and what is done about those that fail.

Rows go through in waves; what failed or must be taken again joins the next one. A row is settled when its audio is in
place and its result is committed, or when it was given up. Killed at any point, the same command goes on.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Ledger, Standing, Tried, short
from acestep_flows.bulk.progress import JobWatch, unwatched
from acestep_flows.bulk.progress_meter import Meter
from acestep_flows.bulk.results import JobOutcome, ResultRow
from acestep_flows.bulk.row_work import Attempt, JobWork, failed
from acestep_flows.bulk.rows import Row
from acestep_flows.errors import Conflict, FlowsError, InputError, LostProcess, StorageError
from acestep_flows.graph.planning.plan import Plan

log = logging.getLogger(__name__)

WAVE = 10_000
"""Rows that go through the processes before they are started anew; it bounds what the driver holds."""

RETRIES = 2
"""How often an attempt that failed is made again."""

PERMANENT = ("invalid_input", "checkpoint", "invalid_graph", "not_found", "conflict", "too_large", "unauthorized")
"""Codes of errors that the next attempt would meet again."""

AttemptEnd = tuple[Attempt, ResultRow]
Route = tuple[str, ...]


class Renderer(Protocol):
    """Makes songs: with processes of its own, or by asking a server."""

    def way(self, plan: Plan) -> Route:
        """What has to be known of a plan beforehand; plans themselves are not kept."""

    def render(
        self, tries: Sequence[Attempt], ways: Collection[Route], meter: Meter, *, alone: bool
    ) -> Iterator[AttemptEnd]:
        """What became of tries, as they end. Those that are missing at the end were lost with a process.

        Args:
            ways: of all their plans, each once.
            alone: keep tries apart: one of them may have killed a process.
        """

    def close(self) -> None:
        """Let go of what was started."""


def run_job(
    work: JobWork,
    rows: Iterable[Row],
    renderer: Renderer,
    *,
    shard: Shard | None = None,
    retries: int = RETRIES,
    again: bool = False,
    wave: int = WAVE,
    watch: JobWatch = unwatched,
) -> JobOutcome:
    """Make the rows of a job that are not settled yet.

    Args:
        work: of the job; its place must be there, with `job.json` in it.
        rows: all rows of the job, as `Rows` gives them; read once.
        renderer: makes the songs, closed in the end.
        shard: the part of the rows to make; None: all.
        retries: attempts beyond the first at a row that fails.
        again: also make rows that were given up before.
        wave: rows under way before processes are started anew.
        watch: hears of progress.

    Returns:
        What became of it. Interrupted by ctrl-C it returns as well, with what is done committed.

    Raises:
        StorageError: the folder cannot be written, or has gone. What was committed stays; the same command goes on.
        Conflict: another process works on this part of the job.
        FlowsError: the processes cannot be started.
    """
    part = shard if shard is not None else Shard()
    name = f"{part.number}-of-{part.of}"
    meter = Meter(len(range(part.number - 1, work.job.rows, part.of)), watch)
    with contextlib.closing(renderer), _locked(work.place, name):
        work.place.tidy()
        driver = _Driver(work, renderer, Ledger(work.place, name), meter, retries, again)
        interrupted = False
        try:
            meter.tell("starting")
            driver.run((row for row in rows if part.holds(row.index)), wave)
        except KeyboardInterrupt:
            interrupted = True
        except BaseException:
            with contextlib.suppress(StorageError):
                driver.ledger.commit()
            raise
        meter.tell("finishing")
        driver.ledger.close()
        outcome = meter.outcome(interrupted=interrupted)
        watch(outcome.progress)
        return outcome


class _Driver:
    """One call of `run_job`."""

    def __init__(
        self, work: JobWork, renderer: Renderer, ledger: Ledger, meter: Meter, retries: int, again: bool
    ) -> None:
        self.work, self.renderer, self.ledger, self.meter = work, renderer, ledger, meter
        self._retries = retries
        self._standing: Standing = ledger.standing(again=again)
        self._ways: set[Route] = set()
        self._next: list[Attempt] = []
        self._lost: list[Attempt] = []
        self._twins: dict[bytes, list[Attempt]] = {}

    def run(self, rows: Iterator[Row], most: int) -> None:
        """All rows, wave after wave."""
        more = True
        while more or self._next or self._lost:
            if self._lost:
                wave, self._lost = self._lost, []
                self._render(wave, alone=True)
                continue
            wave, self._next = self._next, []
            more = more and self._fill(wave, rows, most)
            self._render(wave, alone=False)
            self._settle_twins()

    def _fill(self, wave: list[Attempt], rows: Iterator[Row], most: int) -> bool:
        """Take rows that are still to be made; whether there may be more."""
        taken = {short(one.recipe) for one in wave}
        while len(wave) < most:
            row = next(rows, None)
            if row is None:
                return False
            if (one := self._fresh(row)) is None:
                continue
            key = short(one.recipe)
            if key in self._standing.recipes:
                self._end(self.work.duplicate(one, self._standing.recipes[key]), settled=True)
            elif key in taken:
                self._twins.setdefault(key, []).append(one)
            else:
                taken.add(key)
                wave.append(one)
            if self.ledger.due:
                self.ledger.commit()
        return True

    def _fresh(self, row: Row) -> Attempt | None:
        """The next attempt at a row; None: it is settled."""
        if (status := self._standing.settled.get(row.id)) is not None:
            self.meter.resumed(given_up=status in ("failed", "rejected"))
            return None
        tried = self._standing.tried.get(row.id, Tried())
        try:
            if row.problem is not None:
                raise InputError(row.problem)
            return self._try(row, tried.attempt + 1, min(tried.retake, self.work.job.retakes))
        except FlowsError as error:
            self._end(self.work.refused(row, tried.attempt + 1, error), settled=True)
            return None

    def _try(self, row: Row, attempt: int, retake: int) -> Attempt:
        one, plan = self.work.tried(row, attempt, retake)
        self._ways.add(self.renderer.way(plan))
        return one

    def _render(self, wave: Sequence[Attempt], *, alone: bool) -> None:
        missing = {one.row.id: one for one in wave}
        if wave:
            found = self.renderer.render(wave, self._ways, self.meter, alone=alone)
            for one, row in found:
                missing.pop(one.row.id, None)
                self._judge(one, row)
                if self.ledger.due:
                    self.ledger.commit()
        for one in missing.values():
            self._judge_lost(one, alone=alone)
        self.ledger.commit()

    def _judge(self, one: Attempt, row: ResultRow) -> None:
        """What follows from how an attempt ended."""
        if row.code == StorageError.code:
            raise StorageError(row.error or "the folder cannot be written")
        errors = self._standing.tried.get(row.id, Tried()).errors + (row.status == "failed")
        self._standing.tried[row.id] = Tried(one.attempt, one.retake, errors)
        if row.status == "rejected" and one.retake < self.work.job.retakes:
            self._again(one, row, one.retake + 1)
        elif row.status == "failed" and row.code not in PERMANENT and errors <= self._retries:
            self._again(one, row, one.retake)
        else:
            self._end(row, settled=True)
            del self._standing.tried[row.id]
            if row.status == "done":
                self._standing.recipes[short(one.recipe)] = row.id

    def _again(self, one: Attempt, row: ResultRow, retake: int) -> None:
        self._end(row, settled=False)
        waits = self._lost if row.code == LostProcess.code else self._next
        waits.append(self._try(one.row, one.attempt + 1, retake))

    def _judge_lost(self, one: Attempt, *, alone: bool) -> None:
        """A row that did not come back. With others it may be innocent, so it is tried alone before that counts."""
        if alone:
            self._judge(one, failed(self.work.begun(one), LostProcess("the processes that worked on it died")))
        else:
            self._lost.append(one)

    def _settle_twins(self) -> None:
        """Rows whose song another row of the wave was to bring: it is there, is tried again, or they bring it."""
        under_way = {short(one.recipe) for one in (*self._next, *self._lost)}
        left: dict[bytes, list[Attempt]] = {}
        for key, twins in self._twins.items():
            if key in self._standing.recipes:
                for one in twins:
                    self._end(self.work.duplicate(one, self._standing.recipes[key]), settled=True)
                continue
            if key not in under_way:
                self._next.append(twins.pop(0))
            if twins:
                left[key] = twins
        self._twins = left

    def _end(self, row: ResultRow, *, settled: bool) -> None:
        self.ledger.add(row, settled=settled)
        self.meter.ended(row, settled=settled)


@contextlib.contextmanager
def _locked(place: JobFolder, name: str) -> Iterator[None]:
    """Keep others from the same part of the job; a process that dies lets go."""
    if place.local is None:
        yield
        return
    from filelock import FileLock, Timeout

    lock = FileLock(place.local / f".lock-{name}")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Conflict(f"{place.local}: another process works on part {name} of this job") from None
    except OSError as error:
        raise StorageError(f"{place.local}: cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()
