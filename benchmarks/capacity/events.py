"""A discrete-event simulation: activities that wait for time, for places, and for each other.

An activity is a generator. It yields seconds, and goes on when they have passed; or it yields `Station.place()` or
`Signal.fired()`, and goes on when the place is free or the signal was given.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Generator
from typing import TypeAlias

Resume: TypeAlias = Callable[[], None]
Wait: TypeAlias = "float | Callable[[Resume], None]"
Activity: TypeAlias = Generator[Wait, None, None]


class Simulation:
    """The clock and what is due.

    Attributes:
        now: seconds since the start.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Activity]] = []
        self._numbers = itertools.count()

    def begin(self, activity: Activity, after: float = 0.0) -> None:
        """Have an activity begin `after` seconds from now."""
        heapq.heappush(self._due, (self.now + after, next(self._numbers), activity))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._due and self._due[0][0] <= until:
            self.now, _, activity = heapq.heappop(self._due)
            self._advance(activity)
        self.now = until

    def _advance(self, activity: Activity) -> None:
        try:
            wait = next(activity)
        except StopIteration:
            return
        if callable(wait):
            wait(lambda: self.begin(activity))
        else:
            self.begin(activity, wait)


class Station:
    """Places that are given in the order of asking, as the cores of a machine or the slots of a process.

    Attributes:
        places: how many there are.
        busy: place-seconds that were used so far.
        company: how many times longer something takes that begins while all other places are taken. With fewer of them
            taken it is so much less.
    """

    def __init__(self, places: int = 1, company: float = 1.0) -> None:
        self.places, self.busy, self.company = places, 0.0, company
        self._free, self._waiting = places, deque[Resume]()

    @property
    def taken(self) -> int:
        """Places that are taken, and activities that wait for one."""
        return self.places - self._free + len(self._waiting)

    def place(self) -> Wait:
        """Wait for a place. Whoever got one gives it back with `leave`."""

        def ask(resume: Resume) -> None:
            if self._free:
                self._free -= 1
                resume()
            else:
                self._waiting.append(resume)

        return ask

    def leave(self) -> None:
        """Give a place to the one that has waited longest."""
        if self._waiting:
            self._waiting.popleft()()
        else:
            self._free += 1

    def use(self, seconds: float) -> Activity:
        """Wait for a place, and hold it for a time."""
        if seconds <= 0:
            return
        yield self.place()
        seconds *= self._slower
        self.busy += seconds
        yield seconds
        self.leave()

    @property
    def _slower(self) -> float:
        others = self.places - self._free - 1
        return 1.0 + (self.company - 1.0) * others / max(1, self.places - 1)


class Signal:
    """Something that happens once, and that activities may wait for."""

    def __init__(self) -> None:
        self._given, self._waiting = False, list[Resume]()

    def fired(self) -> Wait:
        """Wait until it has happened."""

        def ask(resume: Resume) -> None:
            if self._given:
                resume()
            else:
                self._waiting.append(resume)

        return ask

    def fire(self) -> None:
        """It has happened."""
        self._given = True
        for resume in self._waiting:
            resume()
        self._waiting.clear()
