"""Notifies HTTP requests about news of a run when the executor of the same process writes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from weakref import WeakValueDictionary

EVERY_RUN = ""
"""In place of a run: a listener that any run wakes."""


class RunNotifier:
    """Signals that something about a run was written to the run table. For one event loop.

    It does not see what executors of other processes write, so listeners must poll as well.

    Attributes:
        closed: whether the server stops, so that nobody should listen any longer.
    """

    def __init__(self) -> None:
        self.closed = False
        self._events: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        """By run. An event exists as long as a listener holds it."""

    def notify(self, runs: Iterable[str]) -> None:
        """Wake the listeners of `runs`, and those of EVERY_RUN."""
        for run in (*runs, EVERY_RUN):
            if (event := self._events.pop(run, None)) is not None:
                event.set()

    def close(self) -> None:
        """Wake every listener, because the server stops. Call this on the event loop's thread."""
        self.closed = True
        for event in list(self._events.values()):
            event.set()

    def listen(self, run: str) -> asyncio.Event:
        """An event that the next notification of a run sets. Call this before reading the run, to miss nothing."""
        return self._events.setdefault(run, asyncio.Event())


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
