"""Whose web page a request comes from, as browsers say in `Sec-Fetch-Site` and `Origin`, which pages cannot forge.

A browser sends some requests of any page to any address, also to loopback, without asking first: a form, a plain text.
So no method that changes something is taken from a foreign page, with or without a key. Programs send neither header.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from acestep_flows.api.http.errors import refusal_of_middleware
from acestep_flows.errors import Forbidden

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""

EVERY_ORIGIN = "*"


class PageCheck:
    """Middleware that refuses what a foreign page sends with a method that changes something.

    Args:
        origins: origins that may call, beside the server's own; `*` for all.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app, self._origins = app, frozenset(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            request = Request(scope)
            if names_page(request) and not (self._is_allowed(request) or is_from_own_page(request)):
                error = Forbidden(
                    "a page of another site sent this; the operator can let it (serve --origin, or --public-url for "
                    "the server's own address)"
                )
                await refusal_of_middleware(scope, error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_allowed(self, request: Request) -> bool:
        return EVERY_ORIGIN in self._origins or request.headers.get("origin", "").lower() in self._origins


def names_page(request: Request) -> bool:
    """Whether a browser says that a page sent the request. `none` is the person at the browser."""
    return request.headers.get("sec-fetch-site", "none") != "none" or "origin" in request.headers


def is_from_own_page(request: Request) -> bool:
    """Whether the page that sent the request is this server's own."""
    if request.headers.get("sec-fetch-site") == "same-origin":
        return True
    public = urlsplit(server_address(request))
    own = {_address_in_use(request).lower(), f"{public.scheme}://{public.netloc}".lower()}
    return request.headers.get("origin", "").lower() in own


def server_address(request: HTTPConnection) -> str:
    """The address of this server without a slash at the end: the public one, or else that of the request."""
    options = request.app.state.service.options
    if options.public_url is not None:
        return str(options.public_url)
    return _address_in_use(request) + str(request.scope.get("root_path", "")).rstrip("/")


def is_https(request: HTTPConnection) -> bool:
    """Whether browsers reach this server by https."""
    return server_address(request).startswith("https:")


def _address_in_use(request: HTTPConnection) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '')}"
