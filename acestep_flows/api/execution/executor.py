"""The executor: takes runs from the table and runs them, several at once, each to exactly one end.

It owns nothing that matters: finished nodes are in the disk tier of the cache, everything else in the store. Kill it,
and another one claims its runs when their leases are over, plans them again from what was accepted, and goes on from
the finished nodes. An executor that only believes to have a run (it slept too long) can write nothing about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from acestep_flows.api.execution import tracing
from acestep_flows.api.execution.accepted_run import planned
from acestep_flows.api.execution.previews import LONGEST, PreviewMaker
from acestep_flows.api.execution.run_journal import Journal, weights
from acestep_flows.api.execution.run_notifier import RunNotifier
from acestep_flows.api.execution.store_outputs import StoredOutputs, store_outputs
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.leases import RunChanges, end_state
from acestep_flows.api.store.records import ClaimedRun, Lease, NodeRecord, RunState
from acestep_flows.api.store.retention import RetentionPolicy, sweep
from acestep_flows.errors import Cancelled, FlowsError, StorageError
from acestep_flows.graph.execution.result import Options
from acestep_flows.graph.execution.run import PlanRun
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.records.recipe import recipe

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
"""How often runs are claimed, wishes to cancel heard of, and progress written."""

RENEWALS_PER_LEASE = 4
SWEEP_SECONDS = 600.0
FINISH_PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0)
"""Pauses between attempts to write a run's end to a database that does not take it."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(eq=False)
class _ActiveRun:
    """A run in hand."""

    claimed: ClaimedRun
    run: PlanRun | None = None
    journal: Journal | None = None
    unwanted: bool = False
    lost: bool = False
    ending: bool = False
    """Its end is being written: a lease that counts no more may have ended with it."""
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def lease(self) -> Lease:
        return self.claimed.lease


class Executor:
    """Runs what was accepted, over one scheduler.

    Args:
        home: the store.
        scheduler: with a cache whose disk tier lies in `home.results`, so that finished nodes outlive this process.
        slots: runs at once.
        name: what leases say; by default one that nobody else has.
        retention: what is kept and for how long; None: nothing is ever removed.
        poll: see POLL_SECONDS.
        tracer: an OpenTelemetry provider for spans of finished runs; None: that of the process, where there is one.
        model: what recipes call the weights.
        bell: rung whenever something was written.
        preview_seconds: of a song that its previews let one hear.

    Attributes:
        failures: how often each part of the background work has failed; it goes on all the same.
        ended: whether `run` is over, however it ended: nothing is claimed any more.
    """

    def __init__(
        self,
        home: Home,
        scheduler: Scheduler,
        *,
        slots: int = 4,
        name: str | None = None,
        retention: RetentionPolicy | None = None,
        poll: float = POLL_SECONDS,
        tracer: TracerProvider | None = None,
        model: str = "",
        bell: RunNotifier | None = None,
        preview_seconds: float = LONGEST,
    ) -> None:
        self.name = name or f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.slots = slots
        self._home, self._scheduler, self._retention, self._poll = home, scheduler, retention, poll
        self._model, self._bell = model, bell if bell is not None else RunNotifier()
        self._preview_seconds = preview_seconds
        self._tracer, self._traces = tracer, tracer is not None or tracing.listening()
        self.failures: Counter[str] = Counter()
        self.ended = False
        self._works: dict[str, _ActiveRun] = {}
        self._draining = False
        self._over = asyncio.Event()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._writing = asyncio.Lock()
        self._store = ThreadPoolExecutor(2, thread_name_prefix="store")
        self._files = ThreadPoolExecutor(2, thread_name_prefix="outputs")

    @property
    def working(self) -> tuple[str, ...]:
        """The runs in hand."""
        return tuple(self._works)

    def nudge(self) -> None:
        """There is something new to do: look now. From the event loop's thread."""
        self._wake.set()

    async def run(self) -> None:
        """Work until `drain`. When it is cancelled, runs in hand stop at a step boundary and go back to the queue."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._every("claim", self._poll, self._claim, self._wake))
                group.create_task(self._every("renew", self._home.leases.seconds / RENEWALS_PER_LEASE, self._renew))
                group.create_task(self._every("write", self._poll, self._look_and_write))
                group.create_task(self._every("expire", 1.0, self._expire))
                if self._retention is not None:
                    group.create_task(self._every("sweep", SWEEP_SECONDS, self._sweep))
        finally:
            self.ended = True
            self._over.set()
            await self._give_back()
            with contextlib.suppress(StorageError):
                self._home.leases.remove_executor(self.name)
            self._store.shutdown()
            self._files.shutdown()

    async def drain(self, grace: float = 0.0) -> None:
        """Claim nothing more, give the runs in hand `grace` seconds to end, and end; `run` then returns."""
        self._draining = True
        if self._works:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace)
        self._over.set()
        self._wake.set()

    # What goes on all the time.

    async def _every(
        self, name: str, seconds: float, do: Callable[[], Awaitable[None]], sooner: asyncio.Event | None = None
    ) -> None:
        while not self._over.is_set():
            try:
                await do()
            except StorageError as error:
                self.failures[name] += 1
                log.warning("%s: %s", name, error)
            except Exception:  # whatever it is, the next round may go well, and the other parts have work to do
                self.failures[name] += 1
                log.exception("%s failed", name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for((sooner or self._over).wait(), seconds)

    async def _claim(self) -> None:
        self._wake.clear()
        while len(self._works) < self.slots and not self._draining:
            claimed = await self._in_store(self._home.leases.claim, self.name, tuple(self._works))
            if claimed is None:
                return
            work = _ActiveRun(claimed)
            self._bell.ring([work.lease.run])
            self._works[work.lease.run] = work
            work.task = asyncio.create_task(self._perform(work))

    async def _renew(self) -> None:
        works = list(self._works.values())
        held = await self._in_store(self._home.leases.renew, self.name, self.slots, [work.lease for work in works])
        self._drop_lost([work for work in works if work.lease.run not in held])

    async def _look_and_write(self) -> None:
        if not self._works:
            return
        for run in await self._in_store(self._home.leases.cancel_requests, self.name):
            if (work := self._works.get(run)) is not None and not work.unwanted:
                work.unwanted = True
                if work.run is not None:
                    work.run.cancel()
        await self._write()

    async def _write(self) -> None:
        """Write what the runs in hand told since the last time, in one transaction."""
        async with self._writing:
            works = [work for work in self._works.values() if not work.lost]
            taken = [(work, changes) for work in works if (changes := _taken(work)) is not None]
            if not taken:
                return
            try:
                held = await self._in_store(self._home.leases.record, {work.lease: new for work, new in taken})
            except StorageError:
                for work, changes in taken:
                    if work.journal is not None:
                        work.journal.restore(changes)
                raise
        self._bell.ring(work.lease.run for work, _ in taken)
        self._drop_lost([work for work, _ in taken if work.lease not in held])

    async def _expire(self) -> None:
        await self._in_store(self._home.leases.expire_queued)

    async def _sweep(self) -> None:
        assert self._retention is not None
        await self._in_files(sweep, self._home, self._retention)

    def _drop_lost(self, works: list[_ActiveRun]) -> None:
        for work in works:
            if work.task is not None and not work.task.done() and not (work.lost or work.ending):
                log.warning("run %s is another executor's by now", work.lease.run)
                work.lost = True
                work.task.cancel()

    async def _give_back(self) -> None:
        """Stop the runs in hand; what is over already is let come to its end: its files and its trace belong to it."""
        for work in self._works.values():
            if work.task is not None and not work.ending:
                work.task.cancel()
        if tasks := [work.task for work in self._works.values() if work.task is not None]:
            await asyncio.wait(tasks)

    # One run.

    async def _perform(self, work: _ActiveRun) -> None:
        try:
            await self._to_its_end(work)
        except asyncio.CancelledError:
            if not work.lost:
                with contextlib.suppress(StorageError):
                    await self._in_store(self._home.leases.release, work.lease)
        except Exception:  # no lease is renewed any more: whoever claims the run next ends it
            log.exception("the end of run %s", work.lease.run)
        finally:
            del self._works[work.lease.run]
            self._wake.set()
            if not self._works:
                self._idle.set()

    async def _to_its_end(self, work: _ActiveRun) -> None:
        stored, error = StoredOutputs((), ()), None
        try:
            stored = await self._compute(work)
        except FlowsError as failure:
            error = failure
        except Exception as failure:  # whatever it is, it ends this run and no other
            log.exception("run %s failed", work.lease.run)
            error = FlowsError(f"internal error ({type(failure).__name__}), told in the server's log")
        done = await self._finish(work, RunState.SUCCEEDED if error is None else end_state(error), stored, error)
        if done and work.run is not None:
            await self._in_files(self._home.states.end, work.run.unfinished)
        if done and self._traces:
            with contextlib.suppress(StorageError):
                await self._in_files(_trace, self._home, work.lease.run, self._tracer)

    async def _compute(self, work: _ActiveRun) -> StoredOutputs:
        record, content = work.claimed.record, work.claimed.content
        home, scheduler = self._home, self._scheduler
        plan, assets = await self._in_files(planned, content, record.inputs, home.assets.value, scheduler.stages)
        nodes = [NodeRecord(node.id, node.stage) for node in plan.nodes.values()]
        standing = await self._in_store(home.leases.begin, work.lease, nodes)
        self._bell.ring([work.lease.run])
        if standing is None:
            work.lost = True
            raise asyncio.CancelledError
        work.journal = Journal(standing, weights(plan, scheduler), record.progress)
        deadline = None if record.deadline_at is None else max(0.0, record.deadline_at - time.time())
        mode: Any = record.cache
        every = record.preview_every or 0
        maker = PreviewMaker(home, scheduler, work.lease, self._files, work.journal.preview, self._preview_seconds)
        options = Options(mode, deadline, on_event=work.journal.hear, preview_every=every, on_preview=maker.take)
        work.run = PlanRun(scheduler, plan, options)
        if work.unwanted:
            raise Cancelled("the run was cancelled")
        try:
            result = await work.run.result()
        finally:
            await maker.close()
        files = {digest: f"asset:{asset}" for digest, asset in assets.items()}
        values = await scheduler.runner.fetch(dict(result.outputs))
        made = recipe(result, content, files, self._model)
        stem = f"{record.graph}-{record.id[-6:]}"
        return await self._in_files(_keep, values, made, home, record.format, stem)

    async def _finish(self, work: _ActiveRun, state: RunState, stored: StoredOutputs, error: FlowsError | None) -> bool:
        """Write the end. Where the database does not take it, the run is left to whoever claims it next."""
        work.ending = True
        for pause in (*FINISH_PAUSES, None):
            async with self._writing:
                changes = _taken(work)
                try:
                    done = await self._in_store(
                        self._home.leases.finish,
                        work.lease,
                        state,
                        changes=changes,
                        outputs=stored.outputs,
                        warnings=stored.warnings,
                        error=error,
                    )
                    self._bell.ring([work.lease.run])
                    if not done:
                        log.warning("run %s is another executor's by now", work.lease.run)
                    return done
                except StorageError as failure:
                    log.warning("the end of run %s: %s", work.lease.run, failure)
                    if changes is not None and work.journal is not None:
                        work.journal.restore(changes)
            if pause is None or self._over.is_set():
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), pause)
        return False

    async def _in_store(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._store, lambda: work(*args, **kwargs))

    async def _in_files(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._files, lambda: work(*args, **kwargs))


def _taken(work: _ActiveRun) -> RunChanges | None:
    return None if work.journal is None else work.journal.take()


def _keep(values: dict[str, Any], made: Any, home: Home, format: str, stem: str) -> StoredOutputs:
    return store_outputs(values, made, artifacts=home.artifacts, format=format, stem=stem)


def _trace(home: Home, run: str, tracer: TracerProvider | None) -> None:
    tracing.emit(home.runs.get(run), home.runs.nodes(run), tracer)
