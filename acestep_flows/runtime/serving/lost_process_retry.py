"""Who is in a process beside whom: after a process died, those who were in it are tried alone.

Of several calls that a process dies with one may be to blame, or none, and from outside nobody can tell. So such a
death counts against none of them. Each has the process to itself next: does it die again, that one is to blame.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(eq=False)
class Visit:
    """A call's time in the process.

    Attributes:
        alone: whether nobody else may come in.
        shared: whether somebody else was in there at some time.
    """

    alone: bool
    shared: bool = False


class Occupancy:
    """The calls in one process."""

    def __init__(self) -> None:
        self._inside: set[Visit] = set()
        self._suspects = 0  # that wait to be alone
        self._waiting: list[asyncio.Future[None]] = []

    @asynccontextmanager
    async def visit(self, *, alone: bool = False) -> AsyncIterator[Visit]:
        """Be in the process, with others or alone. Who wants to be alone goes before those who do not."""
        visit = Visit(alone)
        await self._wait(alone)
        for other in self._inside:
            other.shared = visit.shared = True
        self._inside.add(visit)
        try:
            yield visit
        finally:
            self._inside.discard(visit)
            self._stir()

    async def _wait(self, alone: bool) -> None:
        self._suspects += alone
        try:
            while self._inside if alone else self._suspects or any(visit.alone for visit in self._inside):
                turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(turn)
                await turn
        except asyncio.CancelledError:
            self._suspects -= alone
            self._stir()  # others may have waited for this one alone
            raise
        self._suspects -= alone

    def _stir(self) -> None:
        """Let those who wait look again, in order of arrival."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)
