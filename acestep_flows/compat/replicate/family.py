"""The routes of Replicate's HTTP interface."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.store.ids import is_id
from acestep_flows.api.store.records import RunRecord
from acestep_flows.compat.exchange import Exchange, TheExchange
from acestep_flows.compat.family import Family
from acestep_flows.compat.fields import Draft
from acestep_flows.compat.files import keep
from acestep_flows.compat.parsing import is_absent, json_object
from acestep_flows.compat.refusal import ErrorAnswer, Refusal
from acestep_flows.compat.replicate.models import ServedModel, find, find_version
from acestep_flows.compat.replicate.predictions import file_of, prediction_of, webhook
from acestep_flows.errors import Overloaded

router = APIRouter(prefix="/v1")

PAGE = 100
LONGEST_WAIT = 60.0
"""Seconds that a request may wait by `Prefer: wait`."""

EVENTS = ("start", "output", "logs", "completed")
KNOWN = ("version", "model", "input", "webhook", "webhook_events_filter", "stream")
TITLES = {401: "Unauthenticated", 404: "Not found", 422: "Input validation failed", 429: "Too many requests"}

COG, CREATED = "0.9.0", "2025-05-06T00:00:00Z"
"""The version of Replicate's packager, and the day of version 1, which clients want to be told of models."""

_BODY = {
    "type": "object",
    "properties": {"version": {"type": "string"}, "input": {"type": "object"}, "webhook": {"type": "string"}},
    "additionalProperties": True,
}
_OPENAPI = {"requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}}


# Predictions


@router.post("/predictions", status_code=201, openapi_extra=_OPENAPI)
async def create_prediction(exchange: TheExchange) -> dict[str, Any]:
    """Accept a prediction of a version."""
    fields = (await exchange.read_body()).fields
    if not isinstance(version := fields.get("version"), str):
        raise Refusal("version", version, "a version, or OWNER/NAME:VERSION", "missing", kind="missing")
    return await _predict(exchange, await in_thread(find_version, exchange.service, version), fields)


@router.post("/models/{owner}/{name}/predictions", status_code=201, openapi_extra=_OPENAPI)
async def create_prediction_of_model(owner: str, name: str, exchange: TheExchange) -> dict[str, Any]:
    """Accept a prediction of a model."""
    fields = (await exchange.read_body()).fields
    return await _predict(exchange, await in_thread(find, exchange.service, f"{owner}/{name}"), fields)


async def _predict(exchange: Exchange, model: ServedModel, fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        inputs = json_object(fields.get("input"))
    except ValueError as error:
        raise Refusal("input", fields.get("input"), str(error)) from None
    draft = await model.draft(exchange, inputs)
    for name in fields.keys() - set(KNOWN):
        draft.warn(name, fields[name], "not known here, ignored")
    if fields.get("stream"):
        draft.warn("stream", True, "a song has no stream; get the prediction until it has ended")
    draft.fields["webhook"] = "webhook"
    events = _events(fields, draft)
    record = await exchange.submit(draft, webhook=_webhook(fields), webhook_events=events)
    seconds = patience(exchange.request.headers.get("prefer", ""))
    if seconds is not None:
        record = await _wait(exchange, record, seconds)
    answer = await _prediction(exchange, record)
    # Clients take "processing" in an answer to `Prefer: wait` for an end.
    return answer if record.state.ended else answer | {"status": "starting"}


def patience(prefer: str) -> float | None:
    """The seconds that the header Prefer lets a request wait; None if it says nothing of it."""
    wait = re.search(r"(?:^|[,;\s])wait(?:\s*=\s*(\d{1,6}))?", prefer, re.IGNORECASE)
    if wait is None:
        return None
    return LONGEST_WAIT if wait[1] is None else min(float(wait[1]), LONGEST_WAIT)


async def _wait(exchange: Exchange, record: RunRecord, seconds: float) -> RunRecord:
    try:
        return await exchange.wait(record, seconds)
    except Overloaded:  # the prediction is accepted, and its client polls
        return record


def _webhook(fields: Mapping[str, Any]) -> str | None:
    url = fields.get("webhook")
    if is_absent(url):
        return None
    if not isinstance(url, str) or len(url) > 2000:
        raise Refusal("webhook", url, "an http or https URL")
    return url


def _events(fields: Mapping[str, Any], draft: Draft) -> tuple[str, ...]:
    """When the webhook is called. There are no events while a song is made; its output comes at the end."""
    sent = fields.get("webhook_events_filter")
    if sent is None:
        return ("start", "completed")
    if not isinstance(sent, list) or any(event not in EVENTS for event in sent):
        raise Refusal("webhook_events_filter", sent, f"a list of {', '.join(EVENTS)}")
    if "logs" in sent:
        draft.warn("webhook_events_filter", "logs", "not sent; start and completed are")
    asked = ["completed" if event == "output" else event for event in sent]
    return tuple(event for event in ("start", "completed") if event in asked)


async def _prediction(exchange: Exchange, record: RunRecord) -> dict[str, Any]:
    owner = exchange.caller.visible_owner
    return await in_thread(prediction_of, exchange.service, record, exchange.address, owner)


@router.get("/predictions")
async def list_predictions(exchange: TheExchange, cursor: str | None = None) -> dict[str, Any]:
    """The caller's runs, newest first. `next` is the address of the following page."""
    runs, owner = exchange.service.home.runs, exchange.caller.visible_owner
    if cursor is not None and not is_id("run", cursor):
        raise Refusal("cursor", cursor, "that of the address `next`")
    page = await in_thread(lambda: runs.list(owner=owner, limit=PAGE, after=cursor))
    next_page = None if page.next is None else exchange.url(f"/v1/predictions?cursor={page.next}")
    results = [await _prediction(exchange, record) for record in page.runs]
    return {"previous": None, "next": next_page, "results": results}


@router.get("/predictions/{id}")
async def get_prediction(id: str, exchange: TheExchange) -> dict[str, Any]:
    """A prediction."""
    return await _prediction(exchange, await exchange.run(id))


@router.post("/predictions/{id}/cancel")
async def cancel_prediction(id: str, exchange: TheExchange) -> dict[str, Any]:
    """Stop a prediction."""
    return await _prediction(exchange, await exchange.cancel(await exchange.run(id)))


# Models


@router.get("/models/{owner}/{name}")
async def get_model(owner: str, name: str, exchange: TheExchange) -> dict[str, Any]:
    """A model, with its version."""
    model = await in_thread(find, exchange.service, f"{owner}/{name}")
    nothing = ("description", "github_url", "paper_url", "license_url", "cover_image_url", "default_example")
    return dict.fromkeys(nothing) | {
        "url": exchange.url(f"/v1/models/{model.name}"),
        "owner": owner,
        "name": name,
        "visibility": "public",
        "run_count": 0,
        "latest_version": await in_thread(_version, exchange, model),
    }


@router.get("/models/{owner}/{name}/versions/{id}")
async def get_version(owner: str, name: str, id: str, exchange: TheExchange) -> dict[str, Any]:
    """A version of a model, with the schema of its inputs and its output."""
    model = await in_thread(find, exchange.service, f"{owner}/{name}", id)
    return await in_thread(_version, exchange, model) | {"id": id}


def _version(exchange: Exchange, model: ServedModel) -> dict[str, Any]:
    schema = model.schema(exchange.service)
    return {"id": model.version, "created_at": CREATED, "cog_version": COG, "openapi_schema": schema}


# Files


@router.post("/files", status_code=201)
async def create_file(exchange: TheExchange) -> dict[str, Any]:
    """Take audio for inputs, which name it by its address."""
    body = await exchange.read_body()
    files = body.files.get("content", ())
    if len(files) != 1:
        raise Refusal("content", None, "one file, in a form", "missing" if not files else "several files")
    asset = await keep(exchange.service, exchange.caller, files[0], metadata=_metadata(body.fields.get("metadata")))
    return file_of(asset, exchange.address)


def _metadata(sent: Any) -> dict[str, Any]:
    try:
        return {} if is_absent(sent) else json_object(sent)
    except ValueError as error:
        raise Refusal("metadata", sent, str(error)) from None


@router.get("/files/{id}")
async def get_file(id: str, exchange: TheExchange) -> dict[str, Any]:
    """An upload."""
    return file_of(await exchange.asset(id), exchange.address)


def render(request: Request, error: ErrorAnswer) -> Response:
    """An error with a title; of inputs, each field that is at fault."""
    title = TITLES.get(error.status, error.code.replace("_", " ").capitalize())
    content: dict[str, Any] = {"title": title, "detail": error.message, "status": error.status}
    if error.status == 422 and error.faults:
        content["invalid_fields"] = [
            {"type": fault["type"], "field": fault["loc"][-1], "description": fault["msg"]} for fault in error.locations
        ]
    return JSONResponse(content, error.status, dict(error.headers))


FAMILY = Family("replicate", "Replicate's HTTP interface", router, render, webhook)
