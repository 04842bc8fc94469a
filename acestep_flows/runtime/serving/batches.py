"""Cheap calls of one process in shared forward passes: calls that arrive during one pass go into the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from acestep_flows.errors import Cancelled, FlowsError, StageError
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.contract import Stage, Watch

I = TypeVar("I")  # noqa: E741 - an item
O = TypeVar("O")  # noqa: E741 - what comes out


@dataclass(frozen=True)
class BatcherStats:
    """A snapshot: items that wait, and since the start: lists run, items in them, lists that failed as a whole."""

    waiting: int
    batches: int
    items: int
    broken: int


class Batcher(Generic[I, O]):
    """Calls `run` in a thread of its own, with as many waiting items as fit; while it works, the next ones gather.

    Args:
        run: an output or an exception per item, in order. When it raises for several items, each is run alone.
        size: what an item counts, in the units of `max_size`; at least 1.
        max_size: most that one list may count. A larger item goes alone.
        max_wait: seconds that the first item waits for others when the thread is free; 0: it does not wait.
    """

    def __init__(
        self,
        run: Callable[[list[I]], Sequence[O | Exception]],
        *,
        size: Callable[[I], int] = lambda item: 1,
        max_size: int = 8,
        max_wait: float = 0.0,
    ) -> None:
        self._run, self._size, self._max_size, self._max_wait = run, size, max_size, max_wait
        self._waiting: deque[tuple[I, asyncio.Future[O]]] = deque()
        self._changed = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batch")
        self._batches = self._items = self._broken = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __call__(self, item: I) -> O:
        """The output of one item. Cancelling removes the item while it waits.

        Raises:
            Exception: that `run` returned in place of the output.
        """
        if self._loop is None:
            self._loop = asyncio.create_task(self._batching(), name="batcher")
        if self._loop.done():
            raise Cancelled("the batcher was closed")
        future: asyncio.Future[O] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._changed.set()
        return await future

    async def close(self) -> None:
        """Stop after the list in progress; items still waiting are cancelled."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        await asyncio.to_thread(self._worker.shutdown)

    def stats(self) -> BatcherStats:
        """A snapshot of the batcher."""
        return BatcherStats(len(self._waiting), self._batches, self._items, self._broken)

    async def _batching(self) -> None:
        batch: list[tuple[I, asyncio.Future[O]]] = []
        try:
            while True:
                await self._gather()
                batch = self._take()
                if batch:
                    await self._settle(batch)
        finally:
            for _, future in (*batch, *self._waiting):
                if not future.done():
                    future.set_exception(Cancelled("the batcher was closed"))

    async def _gather(self) -> None:
        """Wait until a list is full or its first item has waited long enough."""
        loop = asyncio.get_running_loop()
        while not self._waiting:
            self._changed.clear()
            await self._changed.wait()
        until = loop.time() + self._max_wait
        while sum(self._size(item) for item, _ in self._waiting) < self._max_size and loop.time() < until:
            self._changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _take(self) -> list[tuple[I, asyncio.Future[O]]]:
        """As many items as fit, in order of arrival, without those that were cancelled."""
        batch: list[tuple[I, asyncio.Future[O]]] = []
        room = self._max_size
        while self._waiting:
            item, future = self._waiting[0]
            if not future.done():
                size = self._size(item)
                if batch and size > room:
                    break
                batch.append((item, future))
                room -= size
            self._waiting.popleft()
        return batch

    async def _settle(self, batch: Sequence[tuple[I, asyncio.Future[O]]]) -> None:
        items = [item for item, _ in batch]
        outs = await asyncio.get_running_loop().run_in_executor(self._worker, self._outputs, items)
        for (_, future), out in zip(batch, outs, strict=True):
            if future.done():
                continue
            if isinstance(out, Exception):
                future.set_exception(out)
            else:
                future.set_result(out)

    def _outputs(self, items: list[I]) -> Sequence[O | Exception]:
        """In the worker's thread: one output or exception per item, whatever happens."""
        self._batches += 1
        self._items += len(items)
        try:
            outs = self._run(items)
            if len(outs) != len(items):
                raise ValueError(f"{len(outs)} outputs for {len(items)} items")
            return outs
        except Exception as error:  # noqa: BLE001 - whatever breaks, breaks one item alone
            if len(items) == 1:
                return [error]
            self._broken += 1
        return [out for item in items for out in self._outputs([item])]


@dataclass(eq=False)
class Passes(Watch):
    """Counts the forward passes of a stage, and the items in them."""

    passes: int = 0
    items: int = 0

    def forward_pass(self, items: int) -> None:
        self.passes += 1
        self.items += items


@dataclass(eq=False)
class _BatchedCall:
    """A call that waits for its forward pass."""

    call: StageCall
    progress: CallProgress
    size: int
    loop: asyncio.AbstractEventLoop
    begun: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)


class StageBatches:
    """Calls of stages that share forward passes. Belongs to one event loop.

    Args:
        runner: has the stages loaded; passes are made in its threads, so that they take turns with whatever else does.
        stages: those of the process; only those that share passes are used.
        most: what the items of one list may count together (`Stage.size`); with 1 this class takes no calls.

    Attributes:
        passes: counts by stage, of stages that share passes. Whoever makes calls that this class does not take must
            count them.
    """

    def __init__(self, runner: LocalRunner, stages: Iterable[type[Stage]], most: int) -> None:
        self._runner = runner
        sharing = [stage.name for stage in stages if stage.batches_items]
        self.passes = {name: Passes() for name in sharing}
        self._batchers: dict[str, Batcher[_BatchedCall, Reply]] = {}
        for name in sharing if most > 1 else ():
            self._batchers[name] = Batcher(self._in_runner, size=lambda job: job.size, max_size=most)

    def takes(self, stage: type[Stage]) -> bool:
        """Whether calls of `stage` are made here."""
        return stage.name in self._batchers

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        """The reply. When cancelled, the call leaves the list it waits in, or else ends with the pass it is in.

        Raises:
            FlowsError: as the stage said, or StageError around any other exception.
        """
        try:
            size = call.stage.size(call.item)
        except Exception as error:
            raise StageError("", call.stage.name, error) from error
        job = _BatchedCall(call, progress, size, asyncio.get_running_loop())
        try:
            return await self._batchers[call.stage.name](job)
        except asyncio.CancelledError:
            if job.begun:
                await job.over.wait()
            raise

    async def close(self) -> None:
        """Stop after the passes in progress."""
        for batcher in self._batchers.values():
            await batcher.close()

    def _in_runner(self, jobs: list[_BatchedCall]) -> list[Reply | Exception]:
        """In the batcher's thread; computed in the runner's."""
        return self._runner.work.submit(self._compute, jobs).result()

    def _compute(self, jobs: list[_BatchedCall]) -> list[Reply | Exception]:
        stage = jobs[0].call.stage
        for job in jobs:
            job.begun = True
            job.loop.call_soon_threadsafe(job.progress.started)
        try:
            replies: list[Reply | FlowsError] = self._runner.together(
                [job.call for job in jobs], self.passes[stage.name]
            )
            return [*replies]
        finally:
            for job in jobs:
                job.loop.call_soon_threadsafe(job.over.set)
