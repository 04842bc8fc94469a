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
    """Places that are given in the order of asking, as the slots of a process or the turns of a GPU.

    Attributes:
        places: how many there are.
        busy: place-seconds that were used so far.
    """

    def __init__(self, places: int = 1) -> None:
        self.places, self.busy = places, 0.0
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
        self.busy += seconds
        yield seconds
        self.leave()


class Cores:
    """The cores of a machine, which all who ask share: a system lets short work in between long work.

    Args:
        places: how many there are.
        company: how many times longer work takes while all other cores work too. With fewer of them it is so much less.
    """

    def __init__(self, simulation: Simulation, places: int, company: float = 1.0) -> None:
        self._simulation, self.places, self._company = simulation, places, company
        self._busy = self._since = 0.0
        # All work goes on equally fast: seconds that each has got so far, and at how many of them what is there ends.
        self._served, self._work = 0.0, list[tuple[float, int, Resume]]()
        self._numbers, self._looks = itertools.count(), 0

    @property
    def busy(self) -> float:
        """Core-seconds that were used so far."""
        self._pass_time()
        return self._busy

    def use(self, seconds: float) -> Activity:
        """Get a core's time for as long as a core alone would need."""
        if seconds <= 0:
            return

        def ask(resume: Resume) -> None:
            self._pass_time()
            heapq.heappush(self._work, (self._served + seconds, next(self._numbers), resume))
            self._look_when_next_ends()

        yield ask

    def _pass_time(self) -> None:
        passed, self._since = self._simulation.now - self._since, self._simulation.now
        self._served += passed * self._speed
        self._busy += passed * min(len(self._work), self.places)

    @property
    def _speed(self) -> float:
        """Seconds that each gets in a second."""
        if not self._work:
            return 0.0
        working = min(len(self._work), self.places)
        slower = 1.0 + (self._company - 1.0) * (working - 1) / max(1, self.places - 1)
        return working / len(self._work) / slower

    def _look_when_next_ends(self) -> None:
        self._looks += 1
        if self._work:
            left = max(0.0, self._work[0][0] - self._served)
            self._simulation.begin(self._end_next(self._looks), left / self._speed)

    def _end_next(self, look: int) -> Activity:
        if look == self._looks:  # else something has begun or ended meanwhile
            self._pass_time()
            heapq.heappop(self._work)[2]()
            self._look_when_next_ends()
        yield from ()


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
