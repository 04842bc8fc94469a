"""Bells between an executor and those who follow its runs in the same process, so that they hear of news at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from weakref import WeakValueDictionary


class RunNotifier:
    """Rings for a run when something about it was written to the run table. All on one event loop.

    What executors of other processes write does not ring: whoever waits still looks from time to time.
    """

    def __init__(self) -> None:
        self._next: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        """By run, as long as somebody listens."""

    def ring(self, runs: Iterable[str]) -> None:
        """Something was written about `runs`."""
        for run in runs:
            if (rung := self._next.pop(run, None)) is not None:
                rung.set()

    def listen(self, run: str) -> asyncio.Event:
        """The next ring for a run from now on. Take it before you look: what is written meanwhile is not missed."""
        return self._next.setdefault(run, asyncio.Event())


async def heard(ring: asyncio.Event, seconds: float) -> None:
    """Wait for the ring, so many seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ring.wait()
