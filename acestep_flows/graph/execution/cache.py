"""The cache: outputs of nodes by key, in memory and on disk, with one shared computation on a miss.

A key covers everything a result depends on (`cache_key.CacheKey`), input *values* included: a changed graph with equal
values at a node still hits. Only complete results are stored, never errors. The disk tier is also how an interrupted
run resumes: a node counts as finished once it is written there, though others may begin with its outputs before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

from acestep_flows.errors import StorageError
from acestep_flows.graph.content import Outputs, memory_bytes
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.runner import CallProgress, Reply, Runner
from acestep_flows.graph.execution.single_flight import CallListener, SharedComputation

log = logging.getLogger(__name__)

Mode: TypeAlias = Literal["use", "refresh", "off"]
"""`use`: look up and store; `refresh`: compute and replace; `off`: neither look up nor store."""

ResultSource: TypeAlias = Literal["computed", "memory", "disk"]

MEMORY_BYTES = 2**30
CLAIM_POLL_SECONDS = (0.02, 0.5)
CLAIM_PATIENCE_SECONDS = 1800.0
"""How long to wait for another process before computing the same: it may be stopped, not dead."""

_ENTRY_BYTES = 1000
"""Bytes of an entry beside its content."""


@dataclass(frozen=True, slots=True)
class CacheResult:
    """Outputs, where they came from, and the seconds it took to compute them.

    They are 0 where nothing was saved, for who waited for a computation under way, and where they are unknown, on disk.
    """

    outputs: Outputs
    source: ResultSource
    seconds: float = 0.0


class MemoryTier:
    """The most recently used outputs within a byte budget. A value that several entries share counts in each."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._entries: OrderedDict[str, tuple[CacheResult, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> CacheResult | None:
        """The entry of `key`, which becomes the most recently used."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: str, result: CacheResult) -> None:
        """Store an entry, dropping the least recently used to make room; one larger than the budget is not stored."""
        if key in self._entries:
            self.used -= self._entries.pop(key)[1]
        size = _ENTRY_BYTES + memory_bytes(result.outputs)
        if size > self.budget:
            return
        self._entries[key] = (CacheResult(result.outputs, "memory", result.seconds), size)
        self.used += size
        while self.used > self.budget:
            self.used -= self._entries.popitem(last=False)[1][1]


class Cache:
    """Both tiers over one runner, whose handles the memory tier holds. Belongs to one event loop at a time.

    Args:
        memory: byte budget of the memory tier; 0 for none.
        store: the disk tier, if any.
    """

    def __init__(self, runner: Runner, *, memory: int = MEMORY_BYTES, store: DiskStore | None = None) -> None:
        self.runner, self.store = runner, store
        self.memory = MemoryTier(memory)
        self._computations: dict[tuple[str, Mode], SharedComputation[CacheResult]] = {}

    async def obtain(
        self,
        key: str,
        stage: str,
        mode: Mode,
        compute: Callable[[CallProgress], Awaitable[Reply]],
        listener: CallListener,
    ) -> CacheResult:
        """The outputs of `key`: stored ones, those of a computation under way, or computed.

        The source is "computed" for the caller that began the computation, "memory" for those that joined it. The
        listener gets computed outputs as soon as they exist; they are returned once they are on disk, too.

        Raises:
            StorageError: the outputs cannot be stored, and the runner is durable.
        """
        if mode == "off":
            return _computed(await compute(listener))
        if mode == "use" and (result := self.memory.get(key)) is not None:
            if self.store is not None:
                self.store.touch(key)  # a run that goes on after this process will look for it there
            return result
        computation = self._computations.get((key, mode))
        if computation is not None and computation.open:
            result = await computation.join(listener)
            return CacheResult(result.outputs, "memory")
        computation = SharedComputation(lambda shared: self._fill(key, stage, mode, compute, shared))
        self._computations[key, mode] = computation
        try:
            return await computation.join(listener)
        finally:
            if self._computations.get((key, mode)) is computation and not computation.open:
                del self._computations[key, mode]

    def peek(self, key: str) -> Outputs | None:
        """The outputs of `key` for a dry run: kinds, digests and sizes, without reading values."""
        result = self.memory.get(key)
        if result is not None:
            return result.outputs
        return self.store.peek(key) if self.store is not None else None

    async def _fill(
        self,
        key: str,
        stage: str,
        mode: Mode,
        compute: Callable[[CallProgress], Awaitable[Reply]],
        listener: CallListener,
    ) -> CacheResult:
        if self.store is None:
            result = _computed(await compute(listener))
        else:
            result = await self._fill_store(self.store, key, stage, mode, compute, listener)
        self.memory.put(key, result)
        return result

    async def _fill_store(
        self,
        store: DiskStore,
        key: str,
        stage: str,
        mode: Mode,
        compute: Callable[[CallProgress], Awaitable[Reply]],
        listener: CallListener,
    ) -> CacheResult:
        """As `_fill`, with a disk tier. Looks it up before waiting for the lock of the key, and again after."""
        if mode == "use" and (outputs := await self._recall(store, key)) is not None:
            return CacheResult(outputs, "disk")
        async with _locked(store, key):
            if mode == "use" and (outputs := await self._recall(store, key)) is not None:
                return CacheResult(outputs, "disk")
            result = _computed(await compute(listener))
            listener.outputs_ready(result.outputs)
            try:
                await self.runner.save(store, key, result.outputs, stage)
            except StorageError as error:
                if self.runner.durable:
                    raise
                log.warning("%s; the run goes on without", error)
            return result

    async def _recall(self, store: DiskStore, key: str) -> Outputs | None:
        return await self.runner.load(store, key) if key in store else None


def _computed(reply: Reply) -> CacheResult:
    return CacheResult(reply.outputs, "computed", reply.seconds)


@asynccontextmanager
async def _locked(store: DiskStore, key: str) -> AsyncIterator[None]:
    """Hold the lock of `key`, waiting up to CLAIM_PATIENCE_SECONDS for another process."""
    pause, waited = CLAIM_POLL_SECONDS[0], 0.0
    while (lock := store.claim(key)) is None and waited < CLAIM_PATIENCE_SECONDS:
        await asyncio.sleep(pause)
        waited += pause
        pause = min(2 * pause, CLAIM_POLL_SECONDS[1])
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
