"""How much at once, and how often: a bound on request bodies, a token bucket, and room for what is decoded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acestep_flows.api.http.errors import answer
from acestep_flows.errors import InputError, TooLarge


class Bucket:
    """A token bucket: `rate` tokens per second flow in, `size` at most are kept.

    Args:
        clock: seconds that only go up.
    """

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._size, self._clock = rate, size, clock
        self._tokens, self._filled = size, clock()

    def take(self) -> float:
        """Take a token: 0, or the seconds to wait for the next one where there is none."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class ByteBudget:
    """Room for so much at once, given out in the order in which it is asked for; on one event loop.

    Args:
        most: of whatever is counted. Who needs more than that has it all.
    """

    def __init__(self, most: int) -> None:
        self._most, self._taken = most, 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def room(self, needed: int) -> AsyncIterator[None]:
        """Wait for room, and have it."""
        needed = min(needed, self._most)
        async with self._turn:  # held while waiting, so that small ones do not overtake a large one for ever
            while self._taken + needed > self._most:
                self._freed.clear()
                await self._freed.wait()
            self._taken += needed
        try:
            yield
        finally:
            self._taken -= needed
            self._freed.set()


class BodyLimit:
    """Middleware: refuses bodies beyond a limit, before they are read where they say how long they are.

    Args:
        largest: bytes of a request body.
        larger: other limits by path.
    """

    def __init__(self, app: ASGIApp, largest: int, larger: dict[str, int]) -> None:
        self._app, self._largest, self._larger = app, largest, larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        limit = self._larger.get(path, self._largest)
        try:
            check_declared(dict(scope["headers"]).get(b"content-length"), limit)
        except (TooLarge, InputError) as error:
            await answer(error)(scope, receive, send)
            return
        await self._app(scope, bounded(receive, limit), send)


class HostCheck:
    """Middleware: answers only to these names, so that a web page cannot call itself the server (DNS rebinding)."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
            name = host if host.endswith("]") else host.rpartition(":")[0] if ":" in host else host
            if name not in self._hosts:
                error = InputError("not a name of this server", where="Host", allowed=", ".join(sorted(self._hosts)))
                await answer(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def check_declared(length: bytes | None, limit: int) -> None:
    """Refuse a declared length beyond `limit`, or one that is no length."""
    if length is None:
        return
    if not length.isdigit() or len(length) > 18:
        raise InputError("not a length", where="Content-Length", allowed="a number of bytes")
    if int(length) > limit:
        raise TooLarge(f"a body of {int(length)} bytes; at most {limit} are accepted")


def bounded(receive: Receive, limit: int) -> Receive:
    """`receive`, raising once more than `limit` bytes have come: an error of the framework's, which passes it on."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(TooLarge.status, f"a body of more than {limit} bytes")
        return message

    return counted
