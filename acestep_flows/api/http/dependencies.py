"""FastAPI dependencies of the routes: the service, the caller, the response builder; and the limit on open streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials
from starlette.concurrency import run_in_threadpool

from acestep_flows.api.http.browser_session import COOKIE, find_session_key, session_key
from acestep_flows.api.http.keys import Key
from acestep_flows.api.http.responses import ResponseBuilder
from acestep_flows.api.service import Service
from acestep_flows.api.store.quotas import Quotas
from acestep_flows.errors import Overloaded, RateLimited

P = ParamSpec("P")
R = TypeVar("R")

_bearer = HTTPBearer(auto_error=False, description="An API key of this server.")
_header = APIKeyHeader(name="X-API-Key", auto_error=False, description="The same key, if Authorization is in use.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="The session of a browser (`POST /v1/session`).")


class Caller:
    """The caller of a request.

    Attributes:
        key: the API key; None if the server has no keys.
        owner: owner of the runs and assets that the caller makes.
        session: token of the browser session that stands for the key; None if the request had the key itself.
        host: the host of this server, with its port, as the request names it.
    """

    def __init__(self, key: Key | None, session: str | None = None, host: str = "") -> None:
        self.key, self.session, self.host = key, session, host
        self.owner = key.name if key is not None else ""

    @property
    def visible_owner(self) -> str | None:
        """The owner whose runs and assets the caller may see; None is all owners."""
        return self.key.name if self.key is not None else None

    @property
    def quotas(self) -> Quotas:
        """What the caller may use beside requests and runs."""
        return self.key.quotas if self.key is not None else Quotas()

    def sees_whole(self, service: Service) -> bool:
        """Whether the caller may see what all callers do together: the sole key, an operator's, or none."""
        return self.operates(service) or (self.key is not None and self.key.operator)

    def operates(self, service: Service) -> bool:
        """Whether the caller may pause the queue and the like: the sole key, an administrator's, or none."""
        return self.key is None or self.key.admin or not service.keys.are_several


def service_of(request: Request) -> Service:
    """The service of the application."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


async def service(request: Request) -> Service:
    """The service of the application, as a dependency."""
    return service_of(request)


async def caller(
    request: Request,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    key: Annotated[str | None, Security(_header)],
    session: Annotated[str | None, Security(_cookie)],
) -> Caller:
    """The caller, by API key, or else by the session of a browser.

    Raises:
        Unauthorized: the key is missing or unknown, or the session is over.
        RateLimited: the key made too many requests.
    """
    presented = bearer.credentials if bearer is not None else key
    service, host = service_of(request), request.headers.get("host", "")
    if service.keys and presented is None and session:
        return Caller(await session_key(request, service, session), session, host)
    return Caller(service.keys.admit(presented), host=host)


async def response_builder(request: Request) -> ResponseBuilder:
    """Builds the response bodies of this request."""
    service = service_of(request)
    base = str(request.scope.get("root_path", "")).rstrip("/")
    return ResponseBuilder(base, service.redact, silent=service.keys.are_several)


async def is_signed_in(service: Service, caller: Caller) -> bool:
    """Whether a caller may still have what it asked for: false once its browser session is over.

    What is answered over a long time asks this again and again.
    """
    return caller.session is None or await in_thread(find_session_key, service, caller.session) is not None


TheService = Annotated[Service, Depends(service)]
TheCaller = Annotated[Caller, Depends(caller)]
TheBuilder = Annotated[ResponseBuilder, Depends(response_builder)]


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a blocking function in a thread."""
    return await run_in_threadpool(work, *args, **kwargs)


class Streams:
    """Limits open streams: event streams, and requests that wait for a run.

    Args:
        most: open streams of all callers.
        each: open streams of one API key. Callers without a key have no limit of their own.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most, self._each = most, each
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        """The number of open streams."""
        return self._open.total()

    def has_room(self, owner: str) -> bool:
        """Whether this owner may open another stream."""
        return self.open < self._most and not self._at_its_share(owner)

    def check(self, owner: str) -> None:
        """Refuse another stream if a limit is reached.

        Raises:
            RateLimited: the owner's limit is reached.
            Overloaded: the server's limit is reached.
        """
        if self._at_its_share(owner):
            what = f"{self._open[owner]} streams of this key are open, which is its limit"
            raise RateLimited(what, retry_after=5, limit="streams")
        if not self.has_room(owner):
            raise Overloaded(f"{self.open} streams are open, which is the limit; try again later", retry_after=5)

    @asynccontextmanager
    async def hold(self, owner: str) -> AsyncIterator[None]:
        """Count one open stream while the context lasts. Raises as `check` does."""
        self.check(owner)
        self._open[owner] += 1
        try:
            yield
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    def _at_its_share(self, owner: str) -> bool:
        return bool(owner) and self._open[owner] >= self._each
