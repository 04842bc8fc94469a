"""Slots in the step engine, where there are more songs than slots: runs take turns.

A song's state is a value, so a song can give its slot up between two steps and take one again later. A run that has had
more of the engine than a waiting run gives a slot up. Its own songs get slots in order of arrival, and a song that gave
its slot up is the next of them. So a short song waits for some steps of a long one, not for all of them, and a run of a
thousand takes keeps no other run waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

STAY = 8
"""Steps that a song makes at least before it gives its slot up. Taking a slot again costs part of a step, because the
song's conditions are computed anew (a fifth of a step for two seconds of music with the embedded weights on a core)."""


@dataclass(eq=False)
class Slot:
    """A song's slot, or its request for one.

    Attributes:
        run: the run of the song.
        number: order of arrival.
        steps: made since it took the slot.
        leaves: whether it has to give the slot up now.
        free: becomes done when the song may take a slot.
    """

    run: str
    number: int
    steps: int = 0
    leaves: bool = False
    free: asyncio.Future[None] | None = None


class SongSlots:
    """Shares `slots` slots among runs; use it from one event loop.

    Args:
        slots: songs in the engine at once.
        stay: see `STAY`.
    """

    def __init__(self, slots: int, stay: int = STAY) -> None:
        self._free, self._stay = slots, stay
        self._arrivals = 0
        self._work: dict[str, int] = {}  # by run: work of its songs so far, on top of what the others had at its start
        self._songs: Counter[str] = Counter()
        self._waiting: dict[str, deque[Slot]] = {}
        self._leaving = 0

    @contextmanager
    def song(self, run: str) -> Iterator[Slot]:
        """Register a song. `sit` then waits for a slot; call it again after the song gave its slot up."""
        self._arrivals += 1
        slot = Slot(run, self._arrivals)
        self._songs[run] += 1
        # A new run starts at the least work of the present ones: it gets no credit for the time before it arrived.
        self._work.setdefault(run, min(self._work.values(), default=0))
        try:
            yield slot
        finally:
            self._songs[run] -= 1
            if not self._songs[run]:
                del self._songs[run], self._work[run]

    @asynccontextmanager
    async def sit(self, slot: Slot) -> AsyncIterator[None]:
        """Wait for a slot, and hold it."""
        await self._wait(slot)
        slot.steps, slot.leaves = 0, False
        try:
            yield
        finally:
            if slot.leaves:
                self._leaving -= 1
            self._give_back()

    def step(self, slot: Slot, work: int) -> bool:
        """Record a step of a song and its work; returns whether the song has to leave its slot now."""
        self._work[slot.run] += work
        slot.steps += 1
        if not slot.leaves and slot.steps >= self._stay and self._owed_by(slot.run) > self._leaving:
            slot.leaves = True
            self._leaving += 1
        return slot.leaves

    def _owed_by(self, run: str) -> int:
        """Number of waiting songs whose runs have had less work than this one."""
        return sum(len(songs) for other, songs in self._waiting.items() if self._work[other] < self._work[run])

    async def _wait(self, slot: Slot) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        slot.free = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(slot.run, deque())
        index = next((index for index, other in enumerate(queue) if other.number > slot.number), len(queue))
        queue.insert(index, slot)
        try:
            await slot.free
        except asyncio.CancelledError:
            if slot.free.cancelled():
                self._remove(slot)
            else:  # it got a slot in the same moment
                self._give_back()
            raise

    def _give_back(self) -> None:
        """A slot is free: the next song of the run that has had the least work takes it."""
        while self._waiting:
            run = min(self._waiting, key=lambda run: (self._work[run], self._waiting[run][0].number))
            slot = self._waiting[run][0]
            self._remove(slot)
            if slot.free is not None and not slot.free.done():  # else it was cancelled in the same moment
                slot.free.set_result(None)
                return
        self._free += 1

    def _remove(self, slot: Slot) -> None:
        queue = self._waiting.get(slot.run, deque())
        if slot in queue:
            queue.remove(slot)
            if not queue:
                del self._waiting[slot.run]
