"""The executor claims runs from the table and computes several at a time. Each run ends exactly once.

An executor holds no state of its own: finished nodes are in the disk tier of the cache, all else is in the store. If
it dies, another executor claims its runs when their leases expire, plans them again, and continues from the finished
nodes. An executor that lost a lease, because it slept too long, can no longer write about the run.
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
from functools import partial
from typing import TYPE_CHECKING, Any

from acestep_flows.api.execution.accepted_run import RunPlanner
from acestep_flows.api.execution.active_run import ActiveRun
from acestep_flows.api.execution.held_runs import HeldRuns
from acestep_flows.api.execution.outage_log import OutageLog
from acestep_flows.api.execution.output_store import OutputStore
from acestep_flows.api.execution.previews import LONGEST, PreviewMaker
from acestep_flows.api.execution.run_journal import Journal, node_weights
from acestep_flows.api.execution.run_notifier import RunNotifier
from acestep_flows.api.execution.store_outputs import StoredOutputs
from acestep_flows.api.execution.store_threads import StoreThreads
from acestep_flows.api.execution.tracing import begin_trace, has_provider
from acestep_flows.api.execution.untold_hits import UntoldHits
from acestep_flows.api.store.claims import end_state
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import ClaimedRun, NodeRecord, RunState
from acestep_flows.api.store.retention import RetentionPolicy, sweep
from acestep_flows.api.store.switches import REFRESH_SECONDS
from acestep_flows.api.store.totals import fold_totals
from acestep_flows.errors import Cancelled, FlowsError, StorageError, Unavailable
from acestep_flows.graph.execution.result import Options
from acestep_flows.graph.execution.run import PlanRun
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.records.recipe import recipe

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
"""Seconds between rounds of claiming runs, reading cancellations, and writing progress."""

RENEWALS_PER_LEASE = 4
MOST_WRITERS = 16
"""Runs whose begin or end is written at the same time."""
SWEEP_SECONDS, FOLD_SECONDS = 600.0, 30.0
FINISH_PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0)
"""Seconds between attempts to write the end of a run to a database that fails."""

COMPUTE_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)  # the run fails after the last
"""Seconds between attempts at a run while a store cannot be reached."""


class Executor:
    """Computes accepted runs with one scheduler.

    Args:
        home: the store.
        scheduler: its cache has a disk tier in `home.results`, so that finished nodes outlive this process.
        slots: number of concurrent runs.
        name: name in leases; by default a unique one.
        retention: how long files and records are kept; None keeps everything.
        poll: seconds between polls (POLL_SECONDS).
        tracer: OpenTelemetry provider for spans of runs; None takes the provider of the process, if any.
        model: name of the weights in recipes.
        notifier: notified whenever something was written about a run.
        preview_seconds: length of previews.
        silent: tell cache hits as computations, because callers share the server.

    Attributes:
        failures: number of failures by part of the background work, which continues after a failure.
        ended: whether `run` has ended, so that no run is claimed any more.
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
        notifier: RunNotifier | None = None,
        preview_seconds: float = LONGEST,
        silent: bool = False,
    ) -> None:
        self.name = name or f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
        self.slots = slots
        self._home, self._scheduler, self._retention, self._poll = home, scheduler, retention, poll
        self._model, self._notifier = model, notifier if notifier is not None else RunNotifier()
        self._preview_seconds, self._silent = preview_seconds, silent
        self._planner = RunPlanner(scheduler.stages)
        self._tracer, self._traces = tracer, tracer is not None or has_provider()
        self.failures, self._outages = Counter[str](), OutageLog(log)
        self.ended = False
        self._draining = False
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        # What they write at the same time goes into one transaction.
        self._store = StoreThreads(2 + min(slots, MOST_WRITERS), "store")
        self._files = StoreThreads(2, "outputs")
        self._held = HeldRuns(self.name, home.leases, self._store, self._notifier)
        self._active, self._write_lock = self._held.active, self._held.write_lock
        self._outputs = OutputStore(scheduler.runner, home.artifacts, self._files)

    @property
    def active_runs(self) -> tuple[str, ...]:
        """Ids of the runs that this executor is working on."""
        return tuple(self._active)

    def wake(self) -> None:
        """Poll for runs now, on the event loop's thread."""
        self._wake.set()

    async def run(self) -> None:
        """Work until `drain`. If cancelled, active runs stop at their next step and return to the queue."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._repeat("claim", self._poll, self._claim, self._wake))
                renew, write = partial(self._held.renew, self.slots), self._held.cancel_and_write
                group.create_task(self._repeat("renew", self._home.leases.seconds / RENEWALS_PER_LEASE, renew))
                group.create_task(self._repeat("write", self._poll, write))
                switches = partial(self._store.call, self._home.switches.read)  # for readiness; claims heed them anyway
                group.create_task(self._repeat("switches", REFRESH_SECONDS, switches))
                expire, requeue = self._home.leases.expire_queued, self._home.leases.requeue_orphans
                group.create_task(self._repeat("expire", 1.0, partial(self._store.call, expire)))
                group.create_task(self._repeat("requeue", 5.0, partial(self._store.call, requeue)))
                fold = partial(fold_totals, self._home.database)
                group.create_task(self._repeat("fold", FOLD_SECONDS, partial(self._store.call, fold)))
                if self._retention is not None:
                    clean = partial(self._files.call, sweep, self._home, self._retention)
                    group.create_task(self._repeat("sweep", SWEEP_SECONDS, clean))
        finally:
            self.ended = True
            self._stopping.set()
            await self._held.release_all()
            with contextlib.suppress(StorageError):
                self._home.leases.remove_executor(self.name)
            self._store.shutdown()
            self._files.shutdown()

    async def drain(self, grace: float = 0.0) -> None:
        """Claim no more runs, let active runs continue for `grace` seconds, then stop; `run` returns afterwards."""
        self._draining = True
        if self._active:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), grace)
        self._stopping.set()
        self._wake.set()

    async def _repeat(
        self, name: str, seconds: float, do: Callable[[], Awaitable[object]], wake: asyncio.Event | None = None
    ) -> None:
        """Call `do` every `seconds`, or earlier when `wake` is set, until the executor stops."""
        while not self._stopping.is_set():
            try:
                await do()
                self._outages.worked(name)
            except StorageError as error:
                self.failures[name] += 1
                self._outages.failed(name, error)
            except Exception:  # the next round may succeed, and the other parts must continue
                self.failures[name] += 1
                log.exception("%s failed", name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for((wake or self._stopping).wait(), seconds)

    async def _claim(self) -> None:
        self._wake.clear()
        while (free := self.slots - len(self._active)) > 0 and not self._draining:
            claim = self._store.call(self._home.leases.claim_several, self.name, free, tuple(self._active))
            if not (claimed := await claim):
                return
            for run in claimed:
                self._start(run)

    def _start(self, claimed: ClaimedRun) -> None:
        work = ActiveRun(claimed)
        self._notifier.notify([work.lease.run])
        self._active[work.lease.run] = work
        work.task = asyncio.create_task(self._run_one(work))

    async def _run_one(self, work: ActiveRun) -> None:
        """Work on a run until it ends, or until it is released or lost."""
        try:
            await self._run_to_end(work)
        except asyncio.CancelledError:
            await self._held.release(work)
        except Exception:  # the lease is no longer renewed, so another executor claims the run and ends it
            log.exception("run %s: its end cannot be written", work.lease.run)
        finally:
            del self._active[work.lease.run]
            work.end_trace("lost" if work.lost else "released")
            self._wake.set()
            if not self._active:
                self._idle.set()

    async def _run_to_end(self, work: ActiveRun) -> None:
        stored, error = StoredOutputs((), ()), None
        try:
            stored = await self._compute_patiently(work)
            self._outages.worked("runs")
        except FlowsError as failure:
            error = failure
        except Exception as failure:  # ends this run only
            log.exception("run %s failed", work.lease.run)
            error = FlowsError(f"internal error ({type(failure).__name__}); see the server's log")
        done = await self._finish(work, RunState.SUCCEEDED if error is None else end_state(error), stored, error)
        if done and work.run is not None and work.run.unfinished:
            await self._files.call(self._home.states.end, work.run.unfinished)

    async def _compute_patiently(self, work: ActiveRun) -> StoredOutputs:
        """As `_compute`, anew while a store cannot be reached. What was computed comes from the cache."""
        for pause in COMPUTE_PAUSES:
            try:
                return await self._compute(work)
            except Unavailable as error:
                self._outages.failed("runs", f"{work.lease.run} is tried again in {pause:g} s: {error}")
            await asyncio.sleep(pause)
        return await self._compute(work)

    async def _compute(self, work: ActiveRun) -> StoredOutputs:
        """Plan a run, compute its nodes, and store its outputs."""
        record, content = work.claimed.record, work.claimed.content
        home, scheduler = self._home, self._scheduler
        plan, assets = await self._files.call(self._planner.plan, content, record.inputs, home.assets.value)
        nodes = [NodeRecord(node.id, node.stage) for node in plan.nodes.values()]
        # Nobody has written the nodes of a run that starts: its first changes, which may be its last, have them all.
        fresh = work.lease.attempt == 1 and work.journal is None
        stored_nodes = nodes if fresh else await self._store.call(home.leases.begin, work.lease, nodes)
        if stored_nodes is None:
            work.lost = True
            raise asyncio.CancelledError
        weights = node_weights(plan, scheduler)
        untold = UntoldHits(plan, scheduler, weights) if self._silent else None
        work.journal = Journal(stored_nodes, weights, record.progress, untold, work.journal, unwritten=fresh)
        deadline = None if record.deadline_at is None else max(0.0, record.deadline_at - time.time())
        mode: Any = record.cache
        taken = work.journal.add_preview
        maker = PreviewMaker(home, scheduler, work.lease, self._files.pool, taken, self._preview_seconds)
        heard: Any = work.journal.add_event
        if self._traces:
            trace = work.trace if work.trace else await self._store.call(begin_trace, home, work.claimed, self._tracer)
            work.trace, heard = trace, trace.hearing(heard)
        options = Options(mode, deadline, False, heard, record.preview_every or 0, maker.take, record.late)
        work.run = PlanRun(scheduler, plan, options)
        if work.cancelled:
            raise Cancelled("the run was cancelled")
        try:
            result = await work.run.result()
        finally:
            await maker.close()
        files = {digest: f"asset:{asset}" for digest, asset in assets.items()}
        run_recipe = recipe(result if untold is None else untold.result(result), content, files, self._model)
        stem = f"{record.graph}-{record.id[-6:]}"
        return await self._outputs.store(result.outputs, run_recipe, record.format, stem)

    async def _finish(self, work: ActiveRun, state: RunState, stored: StoredOutputs, error: FlowsError | None) -> bool:
        """Write the end of a run. Returns False if that fails; the run is then left to the next executor."""
        work.ending = True
        async with self._write_lock:  # what is being written about the run comes before its end
            pass
        for pause in (*FINISH_PAUSES, None):
            changes = work.take_changes()
            try:
                done = await self._store.call(
                    self._home.leases.finish,
                    work.lease,
                    state,
                    changes=changes,
                    outputs=stored.outputs,
                    warnings=stored.warnings,
                    error=error,
                )
                self._outages.worked("ends")
                work.end_trace(state.value if done else "lost", error)
                self._notifier.notify([work.lease.run])
                if not done:
                    log.warning("run %s was claimed by another executor; its end is not written", work.lease.run)
                return done
            except StorageError as failure:
                self._outages.failed("ends", f"that of {work.lease.run} cannot be written: {failure}")
                work.restore(changes)
            if pause is None or self._stopping.is_set():
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        return False
