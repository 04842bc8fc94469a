"""What every route needs of a request: the service, who calls, and how to answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.concurrency import run_in_threadpool

from acestep_flows.api.http.keys import Key
from acestep_flows.api.http.responses import Answers
from acestep_flows.api.service import Service
from acestep_flows.errors import Overloaded, RateLimited

P = ParamSpec("P")
R = TypeVar("R")

_bearer = HTTPBearer(auto_error=False, description="An API key of this server.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same, where Authorization is taken.")


class Caller:
    """Who calls, and what is theirs.

    Attributes:
        key: None where the server has no keys.
        owner: owns what the caller makes.
    """

    def __init__(self, key: Key | None) -> None:
        self.key = key
        self.owner = key.name if key is not None else ""

    @property
    def sees(self) -> str | None:
        """Whose runs and assets the caller sees: their own, or all where there are no keys."""
        return self.key.name if self.key is not None else None


def service_of(request: Request) -> Service:
    """The service behind an app."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


async def service(request: Request) -> Service:
    """The service behind an app."""
    return service_of(request)


async def caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    key: Annotated[str | None, Security(_header)],
) -> Caller:
    """The caller; raises Unauthorized and RateLimited."""
    presented = bearer.credentials if bearer is not None else key
    return Caller(service_of(request).keys.admit(presented))


async def answers(request: Request) -> Answers:
    """Answers to this request."""
    return Answers(str(request.scope.get("root_path", "")).rstrip("/"), service_of(request).redact)


TheService = Annotated[Service, Depends(service)]
TheCaller = Annotated[Caller, Depends(caller)]
TheAnswers = Annotated[Answers, Depends(answers)]


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What blocks, off the event loop."""
    return await run_in_threadpool(work, *args, **kwargs)


class Streams:
    """Connections that last: event streams and requests that wait for a run, so many at once.

    Args:
        most: of everybody.
        each: of one API key, so that none takes all; callers without a key share one machine, and have no share.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most, self._each = most, each
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open.total()

    def room(self, owner: str) -> bool:
        """Whether there is room for another."""
        return self.open < self._most and not self._greedy(owner)

    def check(self, owner: str) -> None:
        """Refuse where there is no room for another.

        Raises:
            RateLimited: the caller has its share.
            Overloaded: nobody has any more.
        """
        if self._greedy(owner):
            raise RateLimited(f"{self._open[owner]} streams of this key are open, which is its share", retry_after=5)
        if not self.room(owner):
            raise Overloaded(f"{self.open} streams are open; no more at once", retry_after=5)

    @asynccontextmanager
    async def one(self, owner: str) -> AsyncIterator[None]:
        """Room for one; raises as `check`."""
        self.check(owner)
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    def _greedy(self, owner: str) -> bool:
        return bool(owner) and self._open[owner] >= self._each
