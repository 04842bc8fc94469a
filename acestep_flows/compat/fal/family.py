"""The routes of fal: its queue, and requests that wait."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.http.request_schemas import LONGEST_DEADLINE
from acestep_flows.api.store.records import RunRecord
from acestep_flows.compat.exchange import Exchange, TheExchange
from acestep_flows.compat.fal.answers import failure_of, result_of, status_of, unplaced, webhook
from acestep_flows.compat.fal.songs import APPS, song_of
from acestep_flows.compat.family import Family
from acestep_flows.compat.parsing import boolean, choice, number
from acestep_flows.compat.refusal import ErrorAnswer, Refusal
from acestep_flows.compat.unfinished import FailedRun
from acestep_flows.errors import NotFound


async def behind_tls(request: Request) -> None:
    """Take a request that came through a proxy for one by https, unless the proxy says what it was.

    Clients know no other addresses, and a proxy that ends TLS alone says nothing.
    """
    _, port = request.scope.get("server") or (None, None)
    named = re.search(r":(\d+)$", request.headers.get("host", ""))
    if port is not None and "x-forwarded-proto" not in request.headers and (named[1] if named else "80") != str(port):
        request.scope["scheme"] = "https"


router = APIRouter(dependencies=[Depends(behind_tls)])

APP = "/fal-ai/ace-step"
REQUEST = f"/queue{APP}/requests/{{id}}"
PRIORITIES = {"normal": 0, "low": -5}
ERROR_TYPES = {"invalid_input": "bad_request", "deadline_exceeded": "request_timeout", "internal": "internal_error"}

_BODY = {"type": "object", "properties": {"tags": {"type": "string"}}, "additionalProperties": True}
_OPENAPI = {"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}}

AppName = Annotated[str, Path(description=f"One of {', '.join(filter(None, APPS))}.")]
Webhook = Annotated[str | None, Query(alias="fal_webhook", max_length=2000)]
Logs = Annotated[str, Query(description="1 to have logs in the answer.")]


async def _submit(exchange: Exchange, app: str, fal_webhook: str | None = None) -> RunRecord:
    """Accept a request of an application."""
    if app not in APPS:
        there = list(filter(None, APPS))
        raise NotFound(f"no application {app[:60]!r}; there are {', '.join(there)}", field="app", allowed=there)
    draft = await song_of(exchange, app, (await exchange.read_body()).fields)
    draft.fields["webhook"] = "fal_webhook"
    headers = exchange.request.headers
    return await exchange.submit(
        draft,
        webhook=fal_webhook or None,
        deadline=_header(headers, "X-Fal-Request-Timeout", number(0.001, LONGEST_DEADLINE)),
        priority=_header(headers, "X-Fal-Queue-Priority", choice(PRIORITIES)) or 0,
    )


def _header(headers: Mapping[str, str], name: str, parse: Any) -> Any:
    """The value of a header; None without one."""
    if not (text := headers.get(name, "").strip()):
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise Refusal(name, text, str(error)) from None


# The queue


@router.post(f"/queue{APP}", openapi_extra=_OPENAPI)
async def enqueue(exchange: TheExchange, fal_webhook: Webhook = None) -> dict[str, Any]:
    """Accept a song."""
    return await _enqueue(exchange, "", fal_webhook)


@router.post(f"/queue{APP}/{{app}}", openapi_extra=_OPENAPI)
async def enqueue_of_app(app: AppName, exchange: TheExchange, fal_webhook: Webhook = None) -> dict[str, Any]:
    """Accept a request of one of the other applications."""
    return await _enqueue(exchange, app, fal_webhook)


async def _enqueue(exchange: Exchange, app: str, fal_webhook: str | None) -> dict[str, Any]:
    record = await _submit(exchange, app, fal_webhook)
    at = exchange.url(REQUEST.format(id=record.id))
    return {
        "status": "IN_QUEUE",
        "queue_position": (await exchange.progress(record)).position or 0,
        "request_id": record.id,
        "response_url": at,
        "status_url": f"{at}/status",
        "cancel_url": f"{at}/cancel",
        "logs": [],
        "warnings": list(record.warnings),
    }


@router.get(f"{REQUEST}/status")
async def request_status(id: str, exchange: TheExchange, logs: Logs = "") -> Response:
    """Where a request is."""
    record = await exchange.run(id)
    status, content = await in_thread(status_of, exchange.service, record, _is_on(logs))
    return JSONResponse(content | _addresses(exchange, id), status)


def _addresses(exchange: Exchange, id: str) -> dict[str, str]:
    at = exchange.url(REQUEST.format(id=id))
    return {"request_id": id, "response_url": at, "status_url": f"{at}/status", "cancel_url": f"{at}/cancel"}


def _is_on(logs: str) -> bool:
    try:
        return bool(logs) and bool(boolean()(logs))
    except ValueError as error:
        raise Refusal("logs", logs, str(error)) from None


@router.get(f"{REQUEST}/status/stream", response_class=StreamingResponse)
async def stream_status(id: str, exchange: TheExchange, logs: Logs = "") -> StreamingResponse:
    """Where a request is, each time that something changes, until it is completed."""
    record, tell = await exchange.run(id), _is_on(logs)
    exchange.check_room()

    async def events() -> AsyncIterator[str]:
        told: dict[str, Any] = {}
        async for news in exchange.follow(record):
            _, content = await in_thread(status_of, exchange.service, news, tell)
            yield ": alive\n\n" if content == told else f"data: {json.dumps(content | _addresses(exchange, id))}\n\n"
            told = content

    return StreamingResponse(events(), media_type="text/event-stream")


@router.get(REQUEST)
async def request_result(id: str, exchange: TheExchange) -> Response:
    """The result of a request; of one that has failed, its error."""
    record = await exchange.run(id)
    if not record.state.ended:
        return _error(400, "bad_request", "Request is still in progress")
    return await _result(exchange, record)


@router.put(f"{REQUEST}/cancel")
async def cancel_request(id: str, exchange: TheExchange) -> Response:
    """Stop a request."""
    try:
        record = await exchange.run(id)
    except NotFound:
        return JSONResponse({"status": "NOT_FOUND"}, 404)
    if record.state.ended:
        return JSONResponse({"status": "ALREADY_COMPLETED"}, 400)
    await exchange.cancel(record)
    return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)


# Requests that wait


@router.post(f"/run{APP}", openapi_extra=_OPENAPI)
async def run(exchange: TheExchange) -> Response:
    """Make a song, and wait for it."""
    return await _run(exchange, "")


@router.post(f"/run{APP}/{{app}}", openapi_extra=_OPENAPI)
async def run_app(app: AppName, exchange: TheExchange) -> Response:
    """Do what one of the other applications does, and wait for it."""
    return await _run(exchange, app)


async def _run(exchange: Exchange, app: str) -> Response:
    record = await _submit(exchange, app)
    try:
        record = await exchange.wait_or_fail(record)
    except FailedRun as failed:
        record = failed.record
    return await _result(exchange, record)


async def _result(exchange: Exchange, record: RunRecord) -> Response:
    if record.error is not None:
        response = _error(*failure_of(exchange.service, record))
    else:
        owner = exchange.caller.visible_owner
        response = JSONResponse(await in_thread(result_of, exchange.service, record, exchange.address, owner))
    response.headers["X-Fal-Request-Id"] = record.id
    return response


def _error(status: int, kind: str, detail: Any, headers: Mapping[str, str] | None = None) -> JSONResponse:
    content = {"detail": detail} if isinstance(detail, list) else {"detail": detail, "error_type": kind}
    return JSONResponse(content, status, {**(headers or {}), "X-Fal-Error-Type": kind})


def render(request: Request, error: ErrorAnswer) -> Response:
    """An error: a list of the fields at fault, or a text."""
    headers = dict(error.headers) | ({"X-Fal-Request-Id": error.run} if error.run else {})
    detail = (error.locations or unplaced(error.message)) if error.status == 422 else error.message
    return _error(error.status, ERROR_TYPES.get(error.code, error.code), detail, headers)


FAMILY = Family("fal", "fal's queue", router, render, webhook)
