"""A job while it runs: which rows are still to be made, in which order, and what happens to those that fail.

Rows are rendered in waves; failed rows and retakes join the next wave. A row is settled when its audio is written and
its result is committed, or when it is given up. After a kill at any point the same command goes on.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.journal import SongJournal
from acestep_flows.bulk.ledger import Ledger, Standing, Tried, short
from acestep_flows.bulk.part_lock import part_locked
from acestep_flows.bulk.progress import JobWatch, ignore_progress
from acestep_flows.bulk.progress_meter import Meter
from acestep_flows.bulk.results import JobOutcome, ResultRow, Status
from acestep_flows.bulk.row_work import Attempt, JobWork, failed
from acestep_flows.bulk.rows import Row
from acestep_flows.errors import FlowsError, InputError, LostProcess, StorageError
from acestep_flows.graph.planning.plan import Plan

log = logging.getLogger(__name__)

WAVE = 10_000
"""Rows rendered before processes are started anew; it bounds what the driver holds in memory."""

RETRIES = 2
"""How often an attempt that failed is made again."""

PERMANENT = ("invalid_input", "checkpoint", "invalid_graph", "not_found", "conflict", "too_large", "unauthorized")
"""Codes of errors that the next attempt would meet again."""

AttemptEnd = tuple[Attempt, ResultRow]
Route = tuple[str, ...]
"""The processes that a plan goes through, in order."""


class Renderer(Protocol):
    """Makes songs: with processes of its own, or by asking a server."""

    def route(self, plan: Plan) -> Route:
        """What must be known of a plan before `render`; plans themselves are not kept."""

    def render(
        self, attempts: Sequence[Attempt], routes: Collection[Route], meter: Meter, *, alone: bool
    ) -> Generator[AttemptEnd, None, None]:
        """The results of attempts, as they end. Attempts without a result were lost with a process.

        It is closed before `close` is called, also where an error or a signal ends it.

        Args:
            routes: of all their plans, each once.
            alone: keep attempts apart: one of them may have killed a process.
        """

    def close(self) -> None:
        """Free what was started."""


def run_job(
    work: JobWork,
    rows: Iterable[Row],
    renderer: Renderer,
    *,
    shard: Shard | None = None,
    retries: int = RETRIES,
    again: bool = False,
    wave: int = WAVE,
    watch: JobWatch = ignore_progress,
) -> JobOutcome:
    """Make the rows of a job that are not settled yet.

    Args:
        work: of the job; its folder must exist, with `job.json` in it.
        rows: all rows of the job, as `JobRows` gives them; read once.
        renderer: makes the songs, closed in the end.
        shard: the part of the rows to make; None: all.
        retries: attempts beyond the first at a row that fails.
        again: also make rows that were given up before.
        wave: rows rendered before processes are started anew.
        watch: called with the progress.

    Returns:
        Counts. After ctrl-C it returns as well, with everything that is done committed.

    Raises:
        StorageError: the folder cannot be written, or has gone. What was committed stays; the same command goes on.
        Conflict: another process works on this part of the job.
        FlowsError: the processes cannot be started.
    """
    part = shard if shard is not None else Shard()
    work = work if work.part == part else replace(work, part=part)
    meter = Meter(len(range(part.number - 1, work.job.rows, part.of)), watch)
    with contextlib.closing(renderer), part_locked(work.job_folder, part):
        work.job_folder.tidy()
        ledger = Ledger(work.job_folder, f"{part.number}-of-{part.of}")
        take_over(work.journal, ledger)
        driver = _Driver(work, renderer, ledger, meter, retries, again)
        interrupted = driver.run_and_commit((row for row in rows if part.holds(row.index)), wave)
        outcome = meter.outcome(interrupted=interrupted)
        watch(outcome.progress)
        return outcome


def take_over(journal: SongJournal, ledger: Ledger) -> None:
    """Commit the songs that were done when an earlier call was killed, and that it had not committed."""
    for row in unheard(journal, ledger):
        ledger.add(row, settled=True)
    ledger.commit()
    journal.clear()


def unheard(journal: SongJournal, ledger: Ledger) -> Iterator[ResultRow]:
    """Songs that are done and not in the tables, each once."""
    ledger.commit()
    seen: set[str] | None = None
    for row in journal.rows():
        seen = set(ledger.done_ids()) if seen is None else seen
        if row.id not in seen:
            seen.add(row.id)
            yield row


def settled_rows(journal: SongJournal, ledger: Ledger, *, again: bool = False) -> dict[str, Status]:
    """How rows ended that are done or given up, by id, as `run_job` would find them. Writes nothing.

    Args:
        again: count rows that were given up as not settled.
    """
    settled = dict(ledger.standing(again=again).settled)
    for row in unheard(journal, ledger):
        settled[row.id] = row.status
    return settled


class _Driver:
    """The state of one call of `run_job`.

    Rows in memory are in one of four places: the wave being rendered; `_next`, for the next wave; `_lost`, to be
    rendered alone because a process died with them; `_waiting`, by recipe, while another row renders the same song.
    """

    def __init__(
        self, work: JobWork, renderer: Renderer, ledger: Ledger, meter: Meter, retries: int, again: bool
    ) -> None:
        self.work, self.renderer, self.ledger, self.meter = work, renderer, ledger, meter
        self._retries = retries
        self._standing: Standing = ledger.standing(again=again)
        self._routes: set[Route] = set()
        self._next: list[Attempt] = []
        self._lost: list[Attempt] = []
        self._waiting: dict[bytes, list[Attempt]] = {}

    def run_and_commit(self, rows: Iterator[Row], wave_size: int) -> bool:
        """Make the rows and commit what is done, whatever happens; whether ctrl-C stopped it."""
        interrupted = False
        try:
            self.meter.report()
            self._run(rows, wave_size)
        except KeyboardInterrupt:
            interrupted = True
            self.renderer.close()
            for row in unheard(self.work.journal, self.ledger):
                self._record(row, settled=True)
        except BaseException:
            with contextlib.suppress(StorageError):
                self.ledger.commit()
            raise
        self.meter.report("finishing")
        self.ledger.close()
        self.work.journal.clear()
        return interrupted

    def _run(self, rows: Iterator[Row], wave_size: int) -> None:
        more = True
        while more or self._next or self._lost:
            if self._lost:
                wave, self._lost = self._lost, []
                self._render(wave, alone=True)
                continue
            wave, self._next = self._next, []
            more = more and self._fill(wave, rows, wave_size)
            self._render(wave, alone=False)
            self._settle_waiting()

    def _fill(self, wave: list[Attempt], rows: Iterator[Row], wave_size: int) -> bool:
        """Add unsettled rows to a wave until it is full; whether there may be more rows."""
        recipes = {short(attempt.recipe) for attempt in wave}
        while len(wave) < wave_size:
            row = next(rows, None)
            if row is None:
                return False
            if (attempt := self._next_attempt(row)) is None:
                continue
            key = short(attempt.recipe)
            if key in self._standing.recipes:
                self._record(self.work.duplicate(attempt, self._standing.recipes[key]), settled=True)
            elif key in recipes:
                self._waiting.setdefault(key, []).append(attempt)
            else:
                recipes.add(key)
                wave.append(attempt)
            if self.ledger.due:
                self.ledger.commit()
        return True

    def _next_attempt(self, row: Row) -> Attempt | None:
        """The next attempt at a row; None: it is settled."""
        if (status := self._standing.settled.get(row.id)) is not None:
            self.meter.resumed(given_up=status in ("failed", "rejected"))
            return None
        tried = self._standing.tried.get(row.id, Tried())
        try:
            if row.problem is not None:
                raise InputError(row.problem)
            return self._plan(row, tried.attempt + 1, min(tried.retake, self.work.job.retakes))
        except FlowsError as error:
            self._record(self.work.refused(row, tried.attempt + 1, error), settled=True, refused=True)
            return None

    def _plan(self, row: Row, number: int, retake: int) -> Attempt:
        attempt, plan = self.work.plan_attempt(row, number, retake)
        self._routes.add(self.renderer.route(plan))
        return attempt

    def _render(self, wave: Sequence[Attempt], *, alone: bool) -> None:
        missing = {attempt.row.id: attempt for attempt in wave}
        if wave:
            with contextlib.closing(self.renderer.render(wave, self._routes, self.meter, alone=alone)) as ends:
                for attempt, row in ends:
                    missing.pop(attempt.row.id, None)
                    self._judge(attempt, row)
                    if self.ledger.due:
                        self.ledger.commit()
        for attempt in missing.values():
            self._judge_lost(attempt, alone=alone)
        self.ledger.commit()
        self.work.journal.clear()

    def _judge(self, attempt: Attempt, row: ResultRow) -> None:
        """Settle the row, or plan another attempt."""
        if row.code == StorageError.code:
            raise StorageError(row.error or "the folder cannot be written")
        errors = self._standing.tried.get(row.id, Tried()).errors + (row.status == "failed")
        self._standing.tried[row.id] = Tried(attempt.attempt, attempt.retake, errors)
        if row.status == "rejected" and attempt.retake < self.work.job.retakes:
            self._try_again(attempt, row, attempt.retake + 1)
        elif row.status == "failed" and row.code not in PERMANENT and errors <= self._retries:
            self._try_again(attempt, row, attempt.retake)
        else:
            self._record(row, settled=True)
            del self._standing.tried[row.id]
            if row.status == "done":
                self._standing.recipes[short(attempt.recipe)] = row.id

    def _try_again(self, attempt: Attempt, row: ResultRow, retake: int) -> None:
        self._record(row, settled=False)
        queue = self._lost if row.code == LostProcess.code else self._next
        queue.append(self._plan(attempt.row, attempt.attempt + 1, retake))

    def _judge_lost(self, attempt: Attempt, *, alone: bool) -> None:
        """A row without a result. If others were rendered with it, one of those may be to blame: render it alone."""
        if alone:
            error = LostProcess("the processes that worked on it died")
            self._judge(attempt, failed(self.work.new_result(attempt), error))
        else:
            self._lost.append(attempt)

    def _settle_waiting(self) -> None:
        """Settle rows that waited for another row with the same recipe, or render one of them in its place."""
        planned = {short(attempt.recipe) for attempt in (*self._next, *self._lost)}
        waiting: dict[bytes, list[Attempt]] = {}
        for key, attempts in self._waiting.items():
            if key in self._standing.recipes:
                for attempt in attempts:
                    self._record(self.work.duplicate(attempt, self._standing.recipes[key]), settled=True)
                continue
            if key not in planned:
                self._next.append(attempts.pop(0))
            if attempts:
                waiting[key] = attempts
        self._waiting = waiting

    def _record(self, row: ResultRow, *, settled: bool, refused: bool = False) -> None:
        self.ledger.add(row, settled=settled)
        self.meter.ended(row, settled=settled, refused=refused)
