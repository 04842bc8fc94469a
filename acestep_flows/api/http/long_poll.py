"""Looking at the run table again and again, soon at first and then at leisure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from acestep_flows.api.execution.run_notifier import heard
from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord

SHORTEST, LONGEST = 0.05, 1.0  # seconds between looks


class Pace:
    """How long to wait before the next look: longer each time, short again once something happened."""

    def __init__(self) -> None:
        self._wait = SHORTEST

    async def wait(self, ring: asyncio.Event, most: float = LONGEST) -> None:
        """Until the next look: when the bell rings, `most` seconds at most."""
        await heard(ring, max(0.0, min(self._wait, most)))
        self._wait = min(self._wait * 1.3, LONGEST)

    def something_happened(self) -> None:
        """Look again soon."""
        self._wait = SHORTEST


async def until_over(service: Service, id: str, seconds: float, gone: Callable[[], Awaitable[bool]]) -> RunRecord:
    """A run when it is over, or as it stands after `seconds`. What becomes of nodes meanwhile is passed over.

    Args:
        gone: whether nobody waits any more.
    """
    end = time.monotonic() + seconds
    pace = Pace()
    while True:
        ring = service.bell.listen(id)
        record = await in_thread(service.home.runs.get, id)
        left = end - time.monotonic()
        if record.state.ended or left <= 0 or await gone():
            return record
        await pace.wait(ring, left)
