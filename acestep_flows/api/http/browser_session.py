"""Browser sessions: a cookie in place of an API key, because pages cannot send a key with audio and event streams.

The cookie is `HttpOnly` and `SameSite=Strict`. Requests that change something must also come from this server's own
pages, as the browser says (`page_origin`).
"""

from __future__ import annotations

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from acestep_flows.api.http.keys import Key
from acestep_flows.api.http.page_origin import SAFE_METHODS, is_from_own_page, names_page
from acestep_flows.api.service import Service
from acestep_flows.errors import Forbidden, Unauthorized

COOKIE = "acestep_flows_session"


async def session_key(request: Request, service: Service, token: str) -> Key:
    """The key that a session stands for, charged for one request.

    Raises:
        Unauthorized: the session is over, or its key was revoked.
        Forbidden: another site's page sent the request.
        RateLimited: the key made too many requests.
    """
    key = await run_in_threadpool(find_session_key, service, token)
    if key is None:
        raise Unauthorized("the session is over, or its key was revoked; sign in again")
    if request.method not in SAFE_METHODS and not is_from_own_page(request):
        raise Forbidden("a session changes things only from this server's own pages; send an API key instead")
    return service.keys.charge(key)


def find_session_key(service: Service, token: str) -> Key | None:
    """The key that a session stands for; None if the session is over or the key was revoked. Blocks."""
    session = service.home.sessions.find(token)
    key = service.keys.named(session.owner) if session is not None else None
    return key if session is not None and key is not None and key.sha256 == session.key_digest else None


def refuse_other_sites(request: Request) -> None:
    """Refuse a request that a browser sends for a page of another site. Other programs say nothing of a page.

    Raises:
        Forbidden: the page belongs to another site.
    """
    if names_page(request) and not is_from_own_page(request):
        raise Forbidden("only this server's own pages may do this in a browser")
