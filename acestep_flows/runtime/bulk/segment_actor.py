"""One process of a leg: takes rows, runs its part of their plans, and passes on what is left.

A row travels as one cell of bytes: its order, what is left of its plan with the values made so far, and node results.
An error of one row never leaves this module as an exception: it travels with the row.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
import time
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from acestep_flows.errors import FlowsError, StageError
from acestep_flows.graph.execution.cache import Cache
from acestep_flows.graph.execution.result import NodeResult
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.plan import NodeOutput, Plan
from acestep_flows.model.kept_choice import keep_choices_in
from acestep_flows.runtime.bulk import plan_segments
from acestep_flows.runtime.bulk.timed_stages import StageTimings, TimedStage
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.settings import read_settings
from acestep_flows.stages.diffusion import DiffusionStage
from acestep_flows.stages.registry import stages as registry

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.runtime.serving.diffusion_calls import DiffusionCalls
    from acestep_flows.runtime.serving.pool import Pool, Process

log = logging.getLogger(__name__)

T = TypeVar("T")

CACHE_BYTES = 2**27
"""Bytes of the cache in memory. Rows often share words: encodings of one row serve the next."""

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("row", pa.large_binary(), nullable=False)])
"""Schema of every table between legs. `large_binary`: a song may have gigabytes."""


@dataclass(frozen=True)
class RowOrder:
    """A row to make.

    Attributes:
        id: unique among the orders of one pipeline.
        content: for the `PipelineWork`; pickled.
    """

    id: str
    content: Any


@dataclass(frozen=True)
class PlanOutcome:
    """How an order ended.

    Attributes:
        plan: with values for all outputs, when nothing failed.
        nodes: results of the nodes that ran, in order.
        error: why it failed.
    """

    plan: Plan | None = None
    nodes: tuple[NodeResult, ...] = ()
    error: FlowsError | None = None


class PipelineWork(Protocol):
    """The job of a pipeline: made by the driver, pickled, used by every actor."""

    def checkpoint(self) -> Checkpoint:
        """The weights, checked, nothing loaded."""

    def stages(self) -> Collection[str]:
        """Names of the stages that plans may have; they are loaded beforehand."""

    def plan(self, content: Any) -> Plan:
        """The plan of an order; raises FlowsError."""

    def finish(self, content: Any, end: PlanOutcome) -> Any:
        """Write the outputs of an order; returns what the driver gets, which is pickled. Must not raise."""


@dataclass(frozen=True)
class Busy:
    """Seconds that a process of a leg has worked so far."""

    leg: str
    process: str
    seconds: float


@dataclass(frozen=True)
class Delivered:
    """An order that arrives at the driver.

    Attributes:
        id: of the order.
        result: what `PipelineWork.finish` returned.
        began: start of the first process's work on it, in seconds since the epoch.
        busy: the processes it went through.
        timed: stages that these processes computed meanwhile, for this order or another.
    """

    id: str
    result: Any
    began: float = 0.0
    busy: tuple[Busy, ...] = ()
    timed: tuple[TimedStage, ...] = ()


@dataclass
class RowInFlight:
    """A row between two legs."""

    order: RowOrder
    plan: Plan | None = None
    nodes: tuple[NodeResult, ...] = ()
    error: FlowsError | None = None
    began: float = field(default_factory=time.time)
    busy: list[Busy] = field(default_factory=list)
    timed: tuple[TimedStage, ...] = ()


def table_of(rows: Mapping[str, Any]) -> pa.Table:
    """A table of pickled rows by id."""
    cells = [pickle.dumps(row, protocol=5) for row in rows.values()]
    return pa.table({"id": list(rows), "row": pa.array(cells, pa.large_binary())}, schema=SCHEMA)


def rows_of(table: pa.Table) -> Iterator[Any]:
    """The rows of a table that `table_of` made."""
    for cell in table.column("row"):
        yield pickle.loads(cell.as_buffer())


class LegActor:
    """Does the work of one leg. Ray Data calls it with tables, from several threads at once.

    Args:
        work: of the job.
        pool: the whole pool.
        leg: the leg's name.
        process: its process of the pool; None: nothing is left to compute.
        last: whether this is the last leg.
    """

    def __init__(self, work: PipelineWork, pool: Pool, leg: str, process: str | None, last: bool) -> None:
        self._work, self._leg, self._last = work, leg, last
        self._homes, self._process = pool.home_of, process
        self._me = f"{leg}:{os.getpid()}"
        self._clock = _Clock()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="leg", daemon=True).start()
        self._timings = StageTimings()
        self._scheduler: Scheduler | None = None
        if process is not None:
            self._scheduler = self._wait(_scheduler(work, pool, pool.processes[process], self._timings))

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """The rows one leg further, one table each, so that large ones do not gather in one block."""
        arriving = [row if isinstance(row, RowInFlight) else RowInFlight(row) for row in rows_of(batch)]
        with self._clock:
            rows = self._wait(self._all(arriving))
        for row in rows:
            row.busy.append(Busy(self._leg, self._me, self._clock.seconds))
            row.timed += self._timings.take()
            yield self._leaving(row)

    async def _all(self, rows: Sequence[RowInFlight]) -> list[RowInFlight]:
        return list(await asyncio.gather(*(self._one(row) for row in rows)))

    async def _one(self, row: RowInFlight) -> RowInFlight:
        if row.error is not None:
            return row
        try:
            plan = row.plan or await asyncio.to_thread(self._work.plan, row.order.content)
            return await self._advance(replace(row, plan=plan))
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks this row alone
            row.error = error if isinstance(error, FlowsError) else StageError("", "plan", error)
            return row

    async def _advance(self, row: RowInFlight) -> RowInFlight:
        """Run the part of the plan that belongs to this process."""
        assert row.plan is not None
        if self._scheduler is None or self._process is None:
            return row
        part = plan_segments.within(row.plan, self._process, self._homes)
        if part is None:
            return row
        result = await run_plan(self._scheduler, part)
        values = await self._scheduler.runner.fetch(dict(result.outputs))
        done = {id for id, node in result.nodes.items() if node.cache_key is not None}
        outputs = {
            ref: values[name] for name, ref in part.outputs.items() if isinstance(ref, NodeOutput) and ref.node in done
        }
        plan = plan_segments.advance(row.plan, part, outputs)
        return replace(row, plan=plan, nodes=(*row.nodes, *result.nodes.values()))

    def _leaving(self, row: RowInFlight) -> pa.Table:
        id = row.order.id
        if not self._last:
            try:
                return table_of({id: row})
            except Exception as error:  # noqa: BLE001 - as above: an error that cannot be pickled
                failure = StageError("", self._leg, RuntimeError(f"{row.error} ({type(error).__name__} on the way)"))
                return table_of({id: RowInFlight(row.order, error=failure, busy=row.busy)})
        with self._clock:
            report = self._work.finish(row.order.content, _outcome(row))
        row.busy[-1] = Busy(self._leg, self._me, self._clock.seconds)
        return table_of({id: Delivered(id, report, row.began, tuple(row.busy), row.timed)})

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class CompanyRunner(LocalRunner):
    """As `LocalRunner`, with songs that are denoised at the same time sharing the step engine.

    Made on the event loop that it is used from.
    """

    def __init__(self, checkpoint: Checkpoint, pool: Pool, process: Process) -> None:
        settings = read_settings()
        keep_choices_in(settings.cache)
        placement = process.placement.with_products(settings.products)
        super().__init__(checkpoint, placement, workers=process.workers, threads=process.torch_threads)
        self._songs: DiffusionCalls | None = None
        if any(issubclass(registry()[name], DiffusionStage) for name in process.stages):
            from acestep_flows.runtime.serving.diffusion_calls import DiffusionCalls

            lanes, share_below = pool.lanes(process), pool.share_below(process)
            self._songs = DiffusionCalls(self, pool.engine, None, lanes=lanes, share_below=share_below)

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        if self._songs is not None and issubclass(call.stage, DiffusionStage):
            # Without turns among runs: no row is more urgent than another, and rows that take turns would all end late.
            reply, _ = await self._songs.call(replace(call, run=""), progress)
            assert reply is not None
            return reply
        return await super().call(call, progress)


async def _scheduler(work: PipelineWork, pool: Pool, process: Process, timings: StageTimings) -> Scheduler:
    """The scheduler of a process, its stages loaded."""
    from acestep_flows.model.allocator import keep_freed_memory

    keep_freed_memory()
    checkpoint = await asyncio.to_thread(work.checkpoint)
    runner = CompanyRunner(checkpoint, pool, process)
    wanted = [registry()[name] for name in process.stages if name in work.stages()]
    await asyncio.to_thread(runner.load_all, wanted)
    return Scheduler(registry(), runner, Cache(runner, memory=CACHE_BYTES), timings)


def _outcome(row: RowInFlight) -> PlanOutcome:
    """How a row ended. A plan with nodes left went a way that was planned for others."""
    if row.error is not None:
        return PlanOutcome(nodes=row.nodes, error=row.error)
    if row.plan is None or row.plan.nodes:
        left = ", ".join(row.plan.nodes) if row.plan is not None else "everything"
        return PlanOutcome(nodes=row.nodes, error=FlowsError(f"no process did {left}"))
    return PlanOutcome(row.plan, row.nodes)


class _Clock:
    """Counts the seconds during which at least one call was under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way, self._since, self._sum = 0, 0.0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if self._under_way == 0:
                self._since = time.monotonic()
            self._under_way += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._under_way -= 1
            if self._under_way == 0:
                self._sum += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        with self._lock:
            return self._sum + (time.monotonic() - self._since if self._under_way else 0.0)
