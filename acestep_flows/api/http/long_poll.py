"""Waits for news of a run, which the notifier signals. The run table is read then, and after a while without any."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from acestep_flows.api.execution.run_notifier import wait_at_most
from acestep_flows.api.http.dependencies import Caller, in_thread, is_signed_in
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord
from acestep_flows.errors import Unauthorized

QUIET_SECONDS = 5.0
"""How long a run without news is left alone. An upgrade's older servers write events that nobody is notified of."""

SESSION_SECONDS = 1.0
"""How long a browser session that has ended may go on waiting."""

DISCONNECTED_SECONDS = 1.0
"""How long a client that has hung up is waited for."""


def _quiet_seconds(caller: Caller) -> float:
    return QUIET_SECONDS if caller.session is None else SESSION_SECONDS


async def wait_for_news(news: asyncio.Event, caller: Caller) -> None:
    """Wait for `news`, but not longer than a run is left alone, or than a session may be trusted."""
    await wait_at_most(news, _quiet_seconds(caller))


async def wait_for_end(
    service: Service, caller: Caller, id: str, seconds: float, disconnected: Callable[[], Awaitable[bool]]
) -> RunRecord:
    """The run when it has ended, or as it is after `seconds` or when the server stops.

    Args:
        disconnected: whether the client has disconnected.

    Raises:
        NotFound: the run was deleted meanwhile.
        Unauthorized: the caller's browser session ended meanwhile.
    """
    end = time.monotonic() + seconds
    async with service.news.watched():
        while True:
            news = service.notifier.listen(id)
            if not await is_signed_in(service, caller):
                raise Unauthorized("the session is over; sign in again")
            ended, left = await in_thread(service.home.feed.has_ended, id), end - time.monotonic()
            if ended or left <= 0 or service.notifier.closed or await _hangs_up(news, caller, left, disconnected):
                return await in_thread(service.home.runs.get, id)


async def _hangs_up(
    news: asyncio.Event, caller: Caller, seconds: float, disconnected: Callable[[], Awaitable[bool]]
) -> bool:
    """Wait for news of a run. Returns whether the client has disconnected meanwhile."""
    until = time.monotonic() + min(seconds, _quiet_seconds(caller))
    while not news.is_set() and (left := until - time.monotonic()) > 0:
        if await disconnected():
            return True
        await wait_at_most(news, min(left, DISCONNECTED_SECONDS))
    return await disconnected()
