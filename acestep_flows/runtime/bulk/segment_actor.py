"""One process of a leg: takes rows, does of their plans what is its to do, and passes on what is left.

A row travels as one cell of bytes: its order, what is left of its plan with the values made so far, and what was told
on the way. Nothing that goes wrong with one row leaves this module as an exception: it travels with the row.
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
from acestep_flows.runtime.bulk import plan_segments
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.diffusion import DiffusionStage
from acestep_flows.stages.registry import stages as registry

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint
    from acestep_flows.runtime.serving.diffusion_calls import DiffusionCalls
    from acestep_flows.runtime.serving.pool import Pool, Process

log = logging.getLogger(__name__)

T = TypeVar("T")

CACHE_BYTES = 2**27
"""Rows often share words: what was encoded for one is kept for the next."""

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("row", pa.large_binary(), nullable=False)])
"""Of every table between legs. `large_binary`: a song may have gigabytes."""


@dataclass(frozen=True)
class RowOrder:
    """A row to make.

    Attributes:
        id: unique among the orders of one pipeline.
        content: what the work knows it by; it is pickled.
    """

    id: str
    content: Any


@dataclass(frozen=True)
class PlanOutcome:
    """What became of an order on its way.

    Attributes:
        plan: with all outputs in it, when nothing failed.
        nodes: what was done, in order.
        error: what it failed of.
    """

    plan: Plan | None = None
    nodes: tuple[NodeResult, ...] = ()
    error: FlowsError | None = None


class PipelineWork(Protocol):
    """What a pipeline is for: made by the driver, pickled, used by every actor."""

    def checkpoint(self) -> Checkpoint:
        """The weights, checked, nothing loaded."""

    def stages(self) -> Collection[str]:
        """Stages that plans may have: they are loaded beforehand."""

    def plan(self, content: Any) -> Plan:
        """The plan of an order; raises FlowsError."""

    def finish(self, content: Any, end: PlanOutcome) -> Any:
        """What is told to the driver; pickled. Writes what is to be kept. Must not raise."""


@dataclass(frozen=True)
class Busy:
    """How long a process of a leg has worked by now."""

    leg: str
    process: str
    seconds: float


@dataclass(frozen=True)
class Delivered:
    """What arrives at the driver.

    Attributes:
        id: of the order.
        told: by the work.
        began: when the first process took it up, in seconds since the epoch.
        busy: the processes it went through.
    """

    id: str
    told: Any
    began: float = 0.0
    busy: tuple[Busy, ...] = ()


@dataclass
class RowInFlight:
    """A row between two legs."""

    order: RowOrder
    plan: Plan | None = None
    nodes: tuple[NodeResult, ...] = ()
    error: FlowsError | None = None
    began: float = field(default_factory=time.time)
    busy: list[Busy] = field(default_factory=list)


def table_of(rows: Mapping[str, Any]) -> pa.Table:
    """A table of anything, by id."""
    cells = [pickle.dumps(row, protocol=5) for row in rows.values()]
    return pa.table({"id": list(rows), "row": pa.array(cells, pa.large_binary())}, schema=SCHEMA)


def rows_of(table: pa.Table) -> Iterator[Any]:
    """What `table_of` was given."""
    for cell in table.column("row"):
        yield pickle.loads(cell.as_buffer())


class LegActor:
    """Does one leg. Ray Data calls it with a table, from as many threads as it has calls under way.

    Args:
        work: of the job.
        pool: the whole pool.
        leg: the leg's name.
        process: of the pool; None: nothing is left to compute.
        last: whether rows end here.
    """

    def __init__(self, work: PipelineWork, pool: Pool, leg: str, process: str | None, last: bool) -> None:
        self._work, self._leg, self._last = work, leg, last
        self._homes, self._process = pool.home_of, process
        self._me = f"{leg}:{os.getpid()}"
        self._clock = _Clock()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="leg", daemon=True).start()
        self._scheduler: Scheduler | None = None
        if process is not None:
            self._scheduler = self._wait(_scheduler(work, pool, pool.processes[process]))

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """The rows one leg further, one table each, so that large ones do not gather in one block."""
        given = [row if isinstance(row, RowInFlight) else RowInFlight(row) for row in rows_of(batch)]
        with self._clock:
            rows = self._wait(self._all(given))
        for row in rows:
            row.busy.append(Busy(self._leg, self._me, self._clock.seconds))
            yield self._told(row)

    async def _all(self, rows: Sequence[RowInFlight]) -> list[RowInFlight]:
        return list(await asyncio.gather(*(self._one(row) for row in rows)))

    async def _one(self, row: RowInFlight) -> RowInFlight:
        if row.error is not None:
            return row
        try:
            plan = row.plan or await asyncio.to_thread(self._work.plan, row.order.content)
            return await self._onward(replace(row, plan=plan))
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks this row alone
            row.error = error if isinstance(error, FlowsError) else StageError("", "plan", error)
            return row

    async def _onward(self, row: RowInFlight) -> RowInFlight:
        """Do of the plan what is ours."""
        assert row.plan is not None
        if self._scheduler is None or self._process is None:
            return row
        part = plan_segments.within(row.plan, self._process, self._homes)
        if part is None:
            return row
        result = await run_plan(self._scheduler, part)
        values = await self._scheduler.runner.fetch(dict(result.outputs))
        done = {id for id, node in result.nodes.items() if node.cache_key is not None}
        made = {
            ref: values[name] for name, ref in part.outputs.items() if isinstance(ref, NodeOutput) and ref.node in done
        }
        plan = plan_segments.advance(row.plan, part, made)
        return replace(row, plan=plan, nodes=(*row.nodes, *result.nodes.values()))

    def _told(self, row: RowInFlight) -> pa.Table:
        id = row.order.id
        if not self._last:
            try:
                return table_of({id: row})
            except Exception as error:  # noqa: BLE001 - as above: an error that cannot be pickled
                told = StageError("", self._leg, RuntimeError(f"{row.error} ({type(error).__name__} on the way)"))
                return table_of({id: RowInFlight(row.order, error=told, busy=row.busy)})
        with self._clock:
            told = self._work.finish(row.order.content, _end(row))
        row.busy[-1] = Busy(self._leg, self._me, self._clock.seconds)
        return table_of({id: Delivered(id, told, row.began, tuple(row.busy))})

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


class CompanyRunner(LocalRunner):
    """As `LocalRunner`, with songs that are denoised at the same time sharing the step engine.

    Made on the event loop that it is used from.
    """

    def __init__(self, checkpoint: Checkpoint, pool: Pool, process: Process) -> None:
        super().__init__(checkpoint, process.placement, workers=process.workers, threads=process.torch_threads)
        self._songs: DiffusionCalls | None = None
        if any(issubclass(registry()[name], DiffusionStage) for name in process.stages):
            from acestep_flows.runtime.serving.diffusion_calls import DiffusionCalls

            self._songs = DiffusionCalls(self, pool.engine, None, lanes=pool.lanes(process))

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        if self._songs is not None and issubclass(call.stage, DiffusionStage):
            # Row after row: nobody waits for a certain one, and songs that take turns would all end late.
            reply, _ = await self._songs.call(replace(call, run=""), progress)
            assert reply is not None
            return reply
        return await super().call(call, progress)


async def _scheduler(work: PipelineWork, pool: Pool, process: Process) -> Scheduler:
    """Where a process runs its stages, loaded."""
    from acestep_flows.model.allocator import keep_freed_memory

    keep_freed_memory()
    checkpoint = await asyncio.to_thread(work.checkpoint)
    runner = CompanyRunner(checkpoint, pool, process)
    wanted = [registry()[name] for name in process.stages if name in work.stages()]
    await asyncio.to_thread(runner.load_all, wanted)
    return Scheduler(registry(), runner, Cache(runner, memory=CACHE_BYTES))


def _end(row: RowInFlight) -> PlanOutcome:
    """How a row ended; one whose plan is not done has gone a way that was not its own."""
    if row.error is not None:
        return PlanOutcome(nodes=row.nodes, error=row.error)
    if row.plan is None or row.plan.nodes:
        left = ", ".join(row.plan.nodes) if row.plan is not None else "everything"
        return PlanOutcome(nodes=row.nodes, error=FlowsError(f"no process did {left}"))
    return PlanOutcome(row.plan, row.nodes)


class _Clock:
    """Seconds during which at least one call was under way."""

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
        """By now."""
        with self._lock:
            return self._sum + (time.monotonic() - self._since if self._under_way else 0.0)
