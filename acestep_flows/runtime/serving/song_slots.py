"""Places in the step engine, where there are more songs than places: they go round among the runs that want one.

A song's state is a value, so a song can get up between two steps and sit down again later. A run that has had more of
the engine than one that waits gives a place up; its own songs come in order, and one that got up is the next of them.
So a short song waits for some steps of a long one, not for all of them, and a run of a thousand takes holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

STAY = 8
"""Steps that a song makes at least before it gets up: to sit down again costs some of one, for its conditions have to
be worked out anew (a fifth of a step for two seconds of music with the embedded weights on a core)."""


@dataclass(eq=False)
class Slot:
    """A song's place, or its wish for one.

    Attributes:
        run: whose song it is.
        number: order of arrival.
        steps: made since it sat down.
        leaves: whether it has to get up now.
    """

    run: str
    number: int
    steps: int = 0
    leaves: bool = False
    free: asyncio.Future[None] | None = None


class SongSlots:
    """Gives `places` places; use it from one event loop.

    Args:
        places: songs that sit at once.
        stay: see `STAY`.
    """

    def __init__(self, places: int, stay: int = STAY) -> None:
        self._left, self._stay = places, stay
        self._numbers = 0
        self._had: dict[str, int] = {}  # by run: work of its songs so far, counted from what the others had by then
        self._songs: Counter[str] = Counter()
        self._waiting: dict[str, deque[Slot]] = {}
        self._leaving = 0

    @contextmanager
    def song(self, run: str) -> Iterator[Slot]:
        """A song takes part, at first without a place: `sit` it, and when it has to leave, sit it again."""
        self._numbers += 1
        place = Slot(run, self._numbers)
        self._songs[run] += 1
        # Who comes gets no more than the least of those who are there: what it did not use before is not saved up.
        self._had.setdefault(run, min(self._had.values(), default=0))
        try:
            yield place
        finally:
            self._songs[run] -= 1
            if not self._songs[run]:
                del self._songs[run], self._had[run]

    @asynccontextmanager
    async def sit(self, place: Slot) -> AsyncIterator[None]:
        """Wait for a place, and have it."""
        await self._wait(place)
        place.steps, place.leaves = 0, False
        try:
            yield
        finally:
            self._get_up(place)

    def step(self, place: Slot, work: int) -> bool:
        """A song has made a step that was so much work; whether it has to get up now."""
        self._had[place.run] += work
        place.steps += 1
        if not place.leaves and place.steps >= self._stay and self._owed(place.run) > self._leaving:
            place.leaves = True
            self._leaving += 1
        return place.leaves

    def _owed(self, run: str) -> int:
        """Songs that wait and whose runs have had less than this one."""
        return sum(len(songs) for other, songs in self._waiting.items() if self._had[other] < self._had[run])

    async def _wait(self, place: Slot) -> None:
        if self._left and not self._waiting:
            self._left -= 1
            return
        place.free = asyncio.get_running_loop().create_future()
        line = self._waiting.setdefault(place.run, deque())
        at = next((at for at, other in enumerate(line) if other.number > place.number), len(line))
        line.insert(at, place)
        try:
            await place.free
        except asyncio.CancelledError:
            if place.free.cancelled():
                self._take_out(place)
            else:  # it was called in the same moment
                self._give_back()
            raise

    def _get_up(self, place: Slot) -> None:
        if place.leaves:
            self._leaving -= 1
        self._give_back()

    def _give_back(self) -> None:
        """A place is free: the next song of the run that has had the least takes it."""
        while self._waiting:
            run = min(self._waiting, key=lambda run: (self._had[run], self._waiting[run][0].number))
            heir = self._waiting[run][0]
            self._take_out(heir)
            if heir.free is not None and not heir.free.done():  # else it was cancelled in the same moment
                heir.free.set_result(None)
                return
        self._left += 1

    def _take_out(self, place: Slot) -> None:
        line = self._waiting.get(place.run, deque())
        if place in line:
            line.remove(place)
            if not line:
                del self._waiting[place.run]
