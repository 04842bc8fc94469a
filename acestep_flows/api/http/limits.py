"""Limits on requests: body size, host names, request rate (a token bucket), and memory for decoding."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acestep_flows.api.http.errors import refusal_of_middleware
from acestep_flows.errors import InputError, TooLarge


class TokenBucket:
    """A token bucket: it gains `rate` tokens a second and holds at most `size`.

    Args:
        clock: a monotonic clock in seconds.
    """

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._size, self._clock = rate, size, clock
        self._tokens, self._filled = size, clock()

    def take(self) -> float:
        """Take a token. Returns 0, or the seconds until the next token if the bucket is empty."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class ByteBudget:
    """A budget of bytes, reserved in the order of the requests, on one event loop.

    Args:
        most: the whole budget in bytes. A request for more reserves all of it.
    """

    def __init__(self, most: int) -> None:
        self._most, self._reserved = most, 0
        self._queue = asyncio.Lock()
        self._released = asyncio.Event()

    @asynccontextmanager
    async def reserve(self, needed: int) -> AsyncIterator[None]:
        """Reserve bytes while the context lasts; wait until they are free."""
        needed = min(needed, self._most)
        async with self._queue:  # held while waiting, so that small requests do not overtake a large one for ever
            while self._reserved + needed > self._most:
                self._released.clear()
                await self._released.wait()
            self._reserved += needed
        try:
            yield
        finally:
            self._reserved -= needed
            self._released.set()


class BodyLimit:
    """Middleware that refuses large bodies: by Content-Length before reading, else while reading.

    Args:
        largest: limit of a request body in bytes.
        larger: limits of single paths.
        below: limits of all paths that begin so.
    """

    def __init__(
        self, app: ASGIApp, largest: int, larger: dict[str, int], below: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._app, self._largest, self._larger, self._below = app, largest, larger, below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        within = (limit for start, limit in self._below.items() if path.startswith(start))
        limit = self._larger.get(path, next(within, self._largest))
        try:
            check_content_length(dict(scope["headers"]).get(b"content-length"), limit)
        except (TooLarge, InputError) as error:
            await refusal_of_middleware(scope, error)(scope, receive, send)
            return
        await self._app(scope, limit_body(receive, limit), send)


class HostCheck:
    """Middleware that refuses other host names, against DNS rebinding by web pages.

    Args:
        hosts: the names that the server answers to, in lower case.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").lower()
            name = host if host.endswith("]") else host.rpartition(":")[0] if ":" in host else host
            if name not in self._hosts:
                allowed = ", ".join(sorted(self._hosts))
                error = InputError("not a host name of this server", where="Host", allowed=allowed)
                await refusal_of_middleware(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def check_content_length(length: bytes | None, limit: int) -> None:
    """Check a Content-Length header.

    Raises:
        InputError: it is not a number.
        TooLarge: it exceeds `limit` bytes.
    """
    if length is None:
        return
    if not length.isdigit() or len(length) > 18:
        raise InputError("not a number", where="Content-Length", allowed="a number of bytes")
    if int(length) > limit:
        raise TooLarge(f"the body has {int(length)} bytes; at most {limit} are accepted")


def limit_body(receive: Receive, limit: int) -> Receive:
    """Wrap `receive` so that it raises HTTPException after more than `limit` bytes. The framework passes that on."""
    received = 0

    async def count() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(TooLarge.status, f"the body has more than {limit} bytes; that is the limit")
        return message

    return count
