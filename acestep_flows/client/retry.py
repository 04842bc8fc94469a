"""How long to go on asking: a server that does not answer, and one whose run is not over."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from acestep_flows.errors import Unreachable

PAUSES = (0.1, 2.0)
"""First and longest pause between two attempts, in seconds."""

HOLD = 10.0
"""Seconds a server is asked to hold its answer: less than a proxy on the way bears."""

LOOKS = (0.05, 1.0)
"""First and longest pause between two looks at a run, in seconds, where the server holds no answers."""


class RetryBudget:
    """Pauses between attempts, until nothing was heard for so many seconds.

    Args:
        seconds: 0 gives up at once.
        server: the address, for the error.
        clock: seconds that only go up.
    """

    def __init__(self, seconds: float, server: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._server, self._clock = seconds, server, clock
        self.renew()

    def renew(self) -> None:
        """Something was heard."""
        self._until = self._clock() + self._seconds
        self._pause = PAUSES[0]

    def pause(self, reason: object) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            Unreachable: patience is over.
        """
        if self._clock() >= self._until:
            text = str(reason) or type(reason).__name__
            raise Unreachable(f"{self._server} does not answer: {text}")
        pause, self._pause = self._pause, min(2 * self._pause, PAUSES[1])
        return pause


class RunPoll:
    """Waits for the end of a run: the server holds its answer until then, so that the news takes no time.

    Where it answers at once all the same (it is an older one, or has no room for more who wait), there are pauses
    between the looks: short ones first, for runs that are nearly done.

    Args:
        run: its id, for the error.
        timeout: seconds; None: for ever.
        clock: seconds that only go up.
    """

    def __init__(self, run: str, timeout: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._timeout, self._clock = run, timeout, clock
        self._until = math.inf if timeout is None else clock() + timeout
        self._asked, self._held = clock(), 0.0
        self._pause = LOOKS[0]

    def hold(self) -> float:
        """Seconds that the server may take for the answer that is asked for now."""
        self._asked = self._clock()
        self._held = max(0.0, min(HOLD, self._until - self._asked))
        return round(self._held, 3)

    def pause(self, state: str) -> float:
        """Seconds until the next look, now that the run was found to be in `state`.

        Raises:
            TimeoutError: the time is over.
        """
        now = self._clock()
        if now >= self._until:
            raise TimeoutError(f"run {self._run} is {state} after {self._timeout} s")
        if now - self._asked > min(self._held / 2, LOOKS[1]):  # it was held
            self._pause = LOOKS[0]
            return 0.0
        pause, self._pause = self._pause, min(1.5 * self._pause, LOOKS[1])
        return min(pause, self._until - now)
