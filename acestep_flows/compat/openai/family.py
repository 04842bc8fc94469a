"""The routes of OpenAI's interface: models, chat completions, speech."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from acestep_flows import __version__
from acestep_flows.compat import links
from acestep_flows.compat.exchange import Exchange, TheExchange
from acestep_flows.compat.family import Family
from acestep_flows.compat.given_audio import given_audio
from acestep_flows.compat.model_list import model_entry
from acestep_flows.compat.openai.answers import Answer
from acestep_flows.compat.openai.errors import render
from acestep_flows.compat.openai.messages import last_of_user
from acestep_flows.compat.openai.songs import settle, settle_speech
from acestep_flows.compat.openai.streams import chat_events, finished
from acestep_flows.compat.openai.tables import read_chat, read_speech
from acestep_flows.compat.song_tasks import TASKS
from acestep_flows.errors import NotFound

router = APIRouter()

LONGEST_HEADER = 4000


def _body(*required: str, **properties: Any) -> dict[str, Any]:
    """What the OpenAPI document says of a body."""
    schema = {"type": "object", "properties": properties, "required": list(required), "additionalProperties": True}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_MESSAGE = {"type": "object", "properties": {"role": {"type": "string"}, "content": {}}, "required": ["role"]}
_CHAT = _body("messages", messages={"type": "array", "items": _MESSAGE}, stream={"type": "boolean"}, seed={})
_SPEECH = _body("input", input={"type": "string"}, instructions={"type": "string"}, duration={"type": "number"})


@router.get("/health")
async def health() -> dict[str, str]:
    """A sign of life. Needs no API key."""
    return {"status": "ok", "service": "acestep_flows", "version": __version__}


@router.get("/v1/models")
async def models(exchange: TheExchange) -> dict[str, Any]:
    """The model, in a list."""
    return {"object": "list", "data": [await _entry(exchange)], "code": 200, "error": None}


router.add_api_route("/api/v1/models", models, name="models_of_chat")


@router.get("/v1/models/{id:path}")
async def model(id: str, exchange: TheExchange) -> dict[str, Any]:
    """The model by its id."""
    entry = await _entry(exchange)
    if id != entry["id"]:
        raise NotFound(f"no model {id[:100]!r}", where="model", allowed=entry["id"])
    return entry


async def _entry(exchange: Exchange) -> dict[str, Any]:
    return model_entry((await exchange.model()).name, TASKS)


@router.post("/v1/chat/completions", response_class=Response, openapi_extra=_CHAT)
async def chat(exchange: TheExchange) -> Response:
    """Make songs of the last message, and answer with them when they are there, or as they come (`stream`)."""
    fields = (await exchange.read_body()).fields
    draft = await exchange.draft()
    message = last_of_user(fields.get("messages"), draft)
    read_chat(fields, draft)
    sources = [await given_audio(exchange, value, field) for field, value in message.audio]
    settle(draft, message.text, sources)
    if draft.values.get("stream"):
        exchange.check_room()
        events = chat_events(exchange, draft, await exchange.submit(draft))
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
    record = await finished(exchange, await exchange.submit(draft))
    answer = Answer(exchange, draft, record, await exchange.takes(record))
    return StreamingResponse(await answer.completion(), media_type="application/json")


@router.post("/v1/audio/speech", response_class=Response, openapi_extra=_SPEECH)
async def speech(exchange: TheExchange) -> Response:
    """Make a song of lyrics (`input`) and tags (`instructions`), and answer with its file."""
    fields = (await exchange.read_body()).fields
    draft = settle_speech(read_speech(fields, await exchange.draft()))
    record = await finished(exchange, await exchange.submit(draft))
    (take,) = await exchange.takes(record)
    response = await links.serve_file(exchange.request, take.asset)
    response.headers["X-Run-Id"] = record.id
    if told := header_of(record.warnings):
        response.headers["X-Warnings"] = told
    return response


def header_of(lines: Sequence[str]) -> str:
    """Lines as the value of a header, as many as it may have. What is not ASCII is escaped as in JSON."""
    escaped = [json.dumps(line)[1:-1] for line in lines]
    while len("; ".join(escaped)) > LONGEST_HEADER:
        escaped.pop()
    return "; ".join(escaped)


FAMILY = Family("openai", "OpenAI's interface", router, render)
