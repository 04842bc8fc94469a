"""The cache: outputs of nodes by key, in memory and on disk, with single flight on a miss.

A key says everything a result depends on (`bindings.Identity`), input *values* included: a changed graph with equal
values at a node still hits. Only whole, good results get in; errors never do. The disk tier is also how an
interrupted run resumes: a node counts as finished once it is written there, though others may begin with its outputs.
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
from acestep_flows.graph.content import Handle, Outputs, leaves
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.runner import CallProgress, Reply, Runner
from acestep_flows.graph.execution.single_flight import CallListener, SharedComputation

log = logging.getLogger(__name__)

Mode: TypeAlias = Literal["use", "refresh", "off"]
"""`use` what is there; `refresh` it: compute and replace; `off`: neither look nor keep."""

ResultSource: TypeAlias = Literal["computed", "memory", "disk"]

MEMORY_BYTES = 2**30
CLAIM_POLL_SECONDS = (0.02, 0.5)
CLAIM_PATIENCE_SECONDS = 1800.0
"""How long to wait for another process before doing the work as well: it may be stopped, not dead."""

_ENTRY_BYTES = 1000
"""What an entry weighs beside its values."""


@dataclass(frozen=True, slots=True)
class CacheResult:
    """Outputs, where they came from, and the seconds it took to compute them (unknown on disk: 0)."""

    outputs: Outputs
    source: ResultSource
    seconds: float = 0.0


class MemoryTier:
    """The most recently used outputs within a byte budget. Values that several entries share are counted in each."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._entries: OrderedDict[str, tuple[CacheResult, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> CacheResult | None:
        """The entry of `key`, now the youngest."""
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key][0]

    def put(self, key: str, found: CacheResult) -> None:
        """Keep an entry, dropping the oldest to make room; one larger than the budget is not kept."""
        if key in self._entries:
            self.used -= self._entries.pop(key)[1]
        size = _ENTRY_BYTES + sum(_size(content) for content in leaves(found.outputs))
        if size > self.budget:
            return
        self._entries[key] = (CacheResult(found.outputs, "memory", found.seconds), size)
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
        self._flights: dict[tuple[str, Mode], SharedComputation[CacheResult]] = {}

    async def obtain(
        self,
        key: str,
        stage: str,
        mode: Mode,
        compute: Callable[[CallProgress], Awaitable[Reply]],
        listener: CallListener,
    ) -> CacheResult:
        """The outputs of `key`: found, awaited from whoever computes them just now, or computed.

        The source is "computed" for the one who asked first, "memory" for those who waited with it. The listener is
        given outputs that are computed as soon as they exist; they are returned when they are on disk, too.

        Raises:
            StorageError: the outputs cannot be kept, by a runner under which they have to be.
        """
        if mode == "off":
            return _computed(await compute(listener))
        if mode == "use" and (found := self.memory.get(key)) is not None:
            if self.store is not None:
                self.store.touch(key)  # a run that goes on after this process will look for it there
            return found
        flight = self._flights.get((key, mode))
        if flight is not None and flight.open:
            found = await flight.join(listener)
            return CacheResult(found.outputs, "memory", found.seconds)
        flight = SharedComputation(lambda shared: self._fill(key, stage, mode, compute, shared))
        self._flights[key, mode] = flight
        try:
            return await flight.join(listener)
        finally:
            if self._flights.get((key, mode)) is flight and not flight.open:
                del self._flights[key, mode]

    def peek(self, key: str) -> Outputs | None:
        """What `key` would give, for a dry run: kinds, digests and sizes, without reading values."""
        found = self.memory.get(key)
        if found is not None:
            return found.outputs
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
            found = _computed(await compute(listener))
        else:
            found = await self._stored(self.store, key, stage, mode, compute, listener)
        self.memory.put(key, found)
        return found

    async def _stored(
        self,
        store: DiskStore,
        key: str,
        stage: str,
        mode: Mode,
        compute: Callable[[CallProgress], Awaitable[Reply]],
        listener: CallListener,
    ) -> CacheResult:
        """As `_fill`, with a disk tier: looked up before the claim is waited for, and again after."""
        if mode == "use" and (outputs := await self._recall(store, key)) is not None:
            return CacheResult(outputs, "disk")
        async with _claimed(store, key):
            if mode == "use" and (outputs := await self._recall(store, key)) is not None:
                return CacheResult(outputs, "disk")
            found = _computed(await compute(listener))
            listener.given(found.outputs)
            try:
                await self.runner.save(store, key, found.outputs, stage)
            except StorageError as error:
                if self.runner.durable:
                    raise
                log.warning("%s; the run goes on without", error)
            return found

    async def _recall(self, store: DiskStore, key: str) -> Outputs | None:
        return await self.runner.load(store, key) if key in store else None


def _computed(reply: Reply) -> CacheResult:
    return CacheResult(reply.outputs, "computed", reply.seconds)


def _size(content: object) -> int:
    if isinstance(content, Handle):
        return content.nbytes
    return len(content) if isinstance(content, str) else 8


@asynccontextmanager
async def _claimed(store: DiskStore, key: str) -> AsyncIterator[None]:
    """Hold the claim on `key`, waiting for another process as long as patience lasts."""
    pause, waited = CLAIM_POLL_SECONDS[0], 0.0
    while (claim := store.claim(key)) is None and waited < CLAIM_PATIENCE_SECONDS:
        await asyncio.sleep(pause)
        waited += pause
        pause = min(2 * pause, CLAIM_POLL_SECONDS[1])
    try:
        yield
    finally:
        if claim is not None:
            claim.release()
