"""Long work on a graph lets other threads go on, and ends when nobody waits for it any more.

Loops over what a caller's input makes long call `pause`. Without a listener, as on the command line, it does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from acestep_flows.errors import Cancelled

R = TypeVar("R")

WORK_SECONDS = 0.005
PAUSE_SECONDS = 0.0005
"""Python threads take turns: one that computes leaves each of the others waiting for as long as it computes."""


class Pauses:
    """The pauses of one piece of work. `stop` may be called from any thread."""

    def __init__(self) -> None:
        self._stopped = False
        self._since = time.monotonic()

    def stop(self) -> None:
        """End the work at its next pause."""
        self._stopped = True

    def during(self, work: Callable[[], R]) -> R:
        """Do `work` with these pauses.

        Raises:
            Cancelled: it was stopped.
        """
        token = _current.set(self)
        try:
            return work()
        finally:
            _current.reset(token)

    def take(self) -> None:
        """Pause if the last one was some milliseconds ago; raises Cancelled."""
        if self._stopped:
            raise Cancelled("nobody waits for the answer any more")
        if time.monotonic() - self._since > WORK_SECONDS:
            time.sleep(PAUSE_SECONDS)
            self._since = time.monotonic()


_current: ContextVar[Pauses | None] = ContextVar("pauses", default=None)


def pause() -> None:
    """A place at which long work may pause, or end because nobody waits for it.

    Raises:
        Cancelled: nobody waits.
    """
    if (pauses := _current.get()) is not None:
        pauses.take()
