"""How long to go on asking a server that does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from acestep_flows.errors import Unreachable

PAUSES = (0.1, 2.0)
"""First and longest pause between two attempts, in seconds."""


class Patience:
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


def looks() -> Iterator[float]:
    """Pauses between two looks at a run, in seconds: short ones first, for runs that are nearly done."""
    pause = 0.05
    while True:
        yield pause
        pause = min(1.5 * pause, 1.0)
