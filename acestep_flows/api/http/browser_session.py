"""Browser sessions: a cookie in place of an API key, because pages cannot send a key with audio and event streams.

The cookie is `HttpOnly` and `SameSite=Strict`. Requests that change something must also come from this server's own
pages, as the browser says in `Sec-Fetch-Site` or `Origin`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from acestep_flows.api.http.keys import Key
from acestep_flows.api.service import Service
from acestep_flows.errors import Unauthorized

COOKIE = "acestep_flows_session"
SAFE_METHODS = ("GET", "HEAD")


async def session_key(request: Request, service: Service, token: str) -> Key:
    """The key that a session stands for, charged for one request.

    Raises:
        Unauthorized: the session is over, its key was revoked, or another site's page sent the request.
        RateLimited: the key made too many requests.
    """
    session = await run_in_threadpool(service.home.sessions.find, token)
    key = service.keys.named(session.owner) if session is not None else None
    if session is None or key is None or key.sha256 != session.key_digest:
        raise Unauthorized("the session is over, or its key was revoked; sign in again")
    if request.method not in SAFE_METHODS and not _is_from_own_page(request):
        raise Unauthorized("a session changes things only from this server's own pages; send an API key instead")
    return service.keys.charge(key)


def refuse_other_sites(request: Request) -> None:
    """Refuse a request that a browser sends for a page of another site. Other programs say nothing of a page.

    Raises:
        Unauthorized: the page belongs to another site.
    """
    headers = request.headers
    named = headers.get("sec-fetch-site") not in (None, "none") or "origin" in headers
    if named and not _is_from_own_page(request):
        raise Unauthorized("only this server's own pages may do this in a browser")


def server_address(request: Request) -> str:
    """The address of this server without a slash at the end: the public one, or else that of the request."""
    options = request.app.state.service.options
    if options.public_url is not None:
        return str(options.public_url)
    return _address_in_use(request) + str(request.scope.get("root_path", "")).rstrip("/")


def is_https(request: Request) -> bool:
    """Whether browsers reach this server by https."""
    return server_address(request).startswith("https:")


def _is_from_own_page(request: Request) -> bool:
    if request.headers.get("sec-fetch-site") == "same-origin":
        return True
    public = urlsplit(server_address(request))
    own = {_address_in_use(request).lower(), f"{public.scheme}://{public.netloc}".lower()}
    return request.headers.get("origin", "").lower() in own


def _address_in_use(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '')}"
