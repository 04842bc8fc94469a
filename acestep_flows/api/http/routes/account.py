"""Routes about the caller: who it is, what it used, and sessions of browsers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Cookie, Query, Request
from starlette.responses import Response

from acestep_flows.api.http.account_schemas import BrowserSession, Me, OwnerUsage, SessionRequest, UsageList
from acestep_flows.api.http.browser_session import COOKIE, refuse_other_sites
from acestep_flows.api.http.dependencies import TheCaller, TheService, in_thread
from acestep_flows.api.http.json_body import JsonRoute
from acestep_flows.api.http.page_origin import is_https
from acestep_flows.api.http.response_schemas import Failure
from acestep_flows.api.store.records import UsageRecord
from acestep_flows.api.store.sessions import SESSION_SECONDS
from acestep_flows.errors import Conflict

router = APIRouter(prefix="/v1", route_class=JsonRoute, tags=["account"])

Since = Annotated[date | None, Query(description="From this day on (UTC).", examples=["2026-03-01"])]
Until = Annotated[date | None, Query(description="Up to this day (UTC).", examples=["2026-03-31"])]


@router.get("/me")
async def show_me(service: TheService, caller: TheCaller) -> Me:
    """The caller: name, limits, runs in hand and usage."""
    home, key = service.home, caller.key
    active = await in_thread(home.usage.active, caller.owner)
    used = await in_thread(home.usage.by_owner, caller.owner)
    now, quotas = await in_thread(home.quotas.used, caller.owner), caller.quotas
    return Me(
        name=key.name if key is not None else None,
        requests_per_minute=key.requests_per_minute if key is not None else None,
        runs=key.runs if key is not None else None,
        active_runs=active,
        compute_seconds_per_day=quotas.compute_seconds,
        compute_seconds_today=round(now.compute_seconds, 3),
        stored_bytes=quotas.bytes,
        stored_bytes_now=now.bytes,
        usage=owner_usage(used[0] if used else UsageRecord(caller.owner, 0, 0.0, 0.0)),
    )


@router.get("/usage")
async def show_usage(service: TheService, caller: TheCaller, since: Since = None, until: Until = None) -> UsageList:
    """What ended runs used, also those that were forgotten since."""
    records = await in_thread(service.home.usage.by_owner, caller.visible_owner, start_of(since), start_of(until))
    return UsageList(usage=[owner_usage(record) for record in records])


@router.post(
    "/session",
    status_code=201,
    responses={
        409: {"model": Failure, "description": "The server has no API keys, so there is nothing to sign in to."}
    },
)
async def open_session(
    body: SessionRequest, request: Request, response: Response, service: TheService
) -> BrowserSession:
    """Sign a browser in: the response has a cookie that stands for the key, for thirty days."""
    refuse_other_sites(request)
    key = service.keys.admit(body.key)
    if key is None:
        raise Conflict("this server has no API keys, so no session is needed")
    token = await in_thread(service.home.sessions.open, key.name, key.sha256)
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(SESSION_SECONDS),
        path=_cookie_path(request),
        secure=is_https(request),
        httponly=True,
        samesite="strict",
    )
    return BrowserSession(name=key.name, expires_at=datetime.now(UTC) + timedelta(seconds=SESSION_SECONDS))


@router.delete("/session", status_code=204)
async def end_session(
    request: Request,
    service: TheService,
    session: Annotated[
        str | None, Cookie(alias=COOKIE, description="The cookie of the session.", examples=["Zm9v"])
    ] = None,
) -> Response:
    """Sign a browser out: the session ends on the server, and its cookie is removed."""
    refuse_other_sites(request)
    if session:
        await in_thread(service.home.sessions.end, session)
    response = Response(status_code=204)
    response.delete_cookie(
        COOKIE, path=_cookie_path(request), secure=is_https(request), httponly=True, samesite="strict"
    )
    return response


def _cookie_path(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/") or "/"


def owner_usage(record: UsageRecord) -> OwnerUsage:
    """Usage as it is told, in seconds with three digits."""
    return OwnerUsage(
        owner=record.owner,
        runs=record.runs,
        music_seconds=round(record.music_seconds, 3),
        compute_seconds=round(record.compute_seconds, 3),
    )


def start_of(day: date | None) -> float | None:
    """The first second of a day (UTC), since the epoch; None if no day is given."""
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
