"""Waits for the end of a run: polls the run table at growing intervals, and wakes when the notifier signals news."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from acestep_flows.api.execution.run_notifier import wait_at_most
from acestep_flows.api.http.dependencies import Caller, in_thread, is_signed_in
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord
from acestep_flows.errors import Unauthorized

SHORTEST, LONGEST = 0.05, 1.0  # seconds between polls


class PollInterval:
    """The wait between two polls: it grows each time, and `reset` makes it short again."""

    def __init__(self) -> None:
        self._wait = SHORTEST

    async def wait(self, news: asyncio.Event, most: float = LONGEST) -> None:
        """Wait for `news`, but not longer than the interval or `most` seconds."""
        await wait_at_most(news, max(0.0, min(self._wait, most)))
        self._wait = min(self._wait * 1.3, LONGEST)

    def reset(self) -> None:
        """Make the next wait short."""
        self._wait = SHORTEST


async def wait_for_end(
    service: Service, caller: Caller, id: str, seconds: float, disconnected: Callable[[], Awaitable[bool]]
) -> RunRecord:
    """The run when it has ended, or as it is after `seconds` or when the server stops.

    Args:
        disconnected: whether the client has disconnected.

    Raises:
        Unauthorized: the caller's browser session ended meanwhile.
    """
    end = time.monotonic() + seconds
    interval = PollInterval()
    while True:
        news = service.notifier.listen(id)
        if not await is_signed_in(service, caller):
            raise Unauthorized("the session is over; sign in again")
        record = await in_thread(service.home.runs.get, id)
        left = end - time.monotonic()
        if record.state.ended or left <= 0 or service.notifier.closed or await disconnected():
            return record
        await interval.wait(news, left)
