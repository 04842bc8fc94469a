"""Wakes whoever waits for a run about which another server writes, by one read of the run table for all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from acestep_flows.api.execution.run_notifier import RunNotifier
from acestep_flows.api.store.event_feed import EventFeed
from acestep_flows.errors import StorageError

PERIOD = 0.25
"""Seconds between two reads. What the executor of this process writes is told at once."""


class RunNews:
    """Reads which runs have new events, as long as somebody watches. For one event loop.

    Args:
        notifier: wakes the listeners.
    """

    def __init__(self, feed: EventFeed, notifier: RunNotifier) -> None:
        self._feed, self._notifier = feed, notifier
        self._watchers, self._head = 0, 0
        self._entry = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Notify listeners of all events from now on. Enter this before the run is read for the first time.

        Raises:
            StorageError: the run table cannot be read.
        """
        async with self._entry:
            if self._reading is None or self._reading.done():
                self._head = await asyncio.to_thread(self._feed.head)
                self._reading = asyncio.create_task(self._read())
            self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    async def _read(self) -> None:
        await asyncio.sleep(PERIOD)
        while self._watchers:
            with contextlib.suppress(StorageError):  # whoever waits reads the run after a while, and is told of it then
                runs, self._head = await asyncio.to_thread(self._feed.runs_with_news, self._head)
                self._notifier.notify(runs)
            await asyncio.sleep(PERIOD)
