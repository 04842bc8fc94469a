"""A bell between an executor and those who follow its runs in the same process, so that they hear of news at once."""

from __future__ import annotations

import asyncio
import contextlib


class Bell:
    """Rings when something was written to the run table. All on one event loop.

    What executors of other processes write does not ring: whoever waits still looks from time to time.
    """

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Something was written."""
        rung, self._next = self._next, asyncio.Event()
        rung.set()

    def listen(self) -> asyncio.Event:
        """The next ring from now on. Take it before you look: what is written meanwhile is then not missed."""
        return self._next


async def heard(ring: asyncio.Event, seconds: float) -> None:
    """Wait for the ring, so many seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ring.wait()
