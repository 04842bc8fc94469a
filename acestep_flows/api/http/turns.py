"""Long work for a request, such as checking and planning a graph: in a thread, a few at a time, one for each caller.

Python threads share one processor. Many that compute would leave little of it to the event loop, which serves all
other requests. So such work waits for its turn, pauses often, and ends when its client has gone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from acestep_flows.api.http.dependencies import TheCaller, in_thread
from acestep_flows.errors import Cancelled, Overloaded
from acestep_flows.graph.pauses import Pauses

T = TypeVar("T")

AT_ONCE = 2
MOST_WAITING = 4096
"""Requests of one caller that work or wait for their turn."""

LOOK_SECONDS = 0.25
"""Time between two looks whether the client is still there."""

IsGone = Callable[[], Awaitable[bool]]


class Turns:
    """The turns of one server. For use on its event loop.

    Args:
        at_once: pieces of work that are done at a time.
        most_waiting: requests of one caller that work or wait.
    """

    def __init__(self, at_once: int = AT_ONCE, most_waiting: int = MOST_WAITING) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._of_owner: dict[str, asyncio.Lock] = {}
        self._requests: Counter[str] = Counter()
        self._most_waiting = most_waiting

    async def do(self, work: Callable[[], T], owner: str, is_gone: IsGone) -> T:
        """Do `work` in a thread when it is its turn.

        Raises:
            Overloaded: too many requests of this caller wait.
            Cancelled: the client has gone.
        """
        async with self._counted(owner):
            lock = self._of_owner.setdefault(owner, asyncio.Lock())
            await _acquire(lock, is_gone)
            try:
                await _acquire(self._free, is_gone)
                try:
                    return await _in_paused_thread(work, is_gone)
                finally:
                    self._free.release()
            finally:
                lock.release()

    @asynccontextmanager
    async def _counted(self, owner: str) -> AsyncIterator[None]:
        if self._requests[owner] >= self._most_waiting:
            raise Overloaded(f"{self._requests[owner]} requests with a graph wait; try again later", retry_after=5)
        self._requests[owner] += 1
        try:
            yield
        finally:
            self._requests[owner] -= 1
            if not self._requests[owner]:
                del self._requests[owner]
                self._of_owner.pop(owner, None)


async def _acquire(place: asyncio.Lock | asyncio.Semaphore, is_gone: IsGone) -> None:
    """Wait for a place; raises Cancelled when the client goes meanwhile."""
    waiting = asyncio.ensure_future(place.acquire())
    try:
        while not (await asyncio.wait([waiting], timeout=LOOK_SECONDS))[0]:
            if await is_gone() and not waiting.done():
                raise Cancelled("the client has gone")
    except BaseException:
        if not waiting.cancel():  # the place came at the same moment
            place.release()
        raise


async def _in_paused_thread(work: Callable[[], T], is_gone: IsGone) -> T:
    pauses = Pauses()
    working = asyncio.ensure_future(in_thread(pauses.during, work))
    try:
        while not (await asyncio.wait([working], timeout=LOOK_SECONDS))[0]:
            if await is_gone():
                pauses.stop()
        return working.result()
    except asyncio.CancelledError:
        pauses.stop()
        await asyncio.wait([working])
        raise


class Turn:
    """Does long work for one request."""

    def __init__(self, turns: Turns, request: Request, owner: str) -> None:
        self._turns, self._request, self._owner = turns, request, owner

    async def do(self, work: Callable[[], T]) -> T:
        """As `Turns.do`, for this request."""
        return await self._turns.do(work, self._owner, self._request.is_disconnected)


async def turn(request: Request, caller: TheCaller) -> Turn:
    """The turn of a request, as a dependency."""
    return Turn(request.app.state.turns, request, caller.owner)


TheTurn = Annotated[Turn, Depends(turn)]
