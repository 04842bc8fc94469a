"""The routes of ACE-Step 1.5's REST interface."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from acestep_flows import __version__
from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.http.starting_points import EXAMPLES
from acestep_flows.api.store.records import RunState
from acestep_flows.compat import links
from acestep_flows.compat.acestep15.answers import SERVICE, envelope, task
from acestep_flows.compat.acestep15.songs import settle
from acestep_flows.compat.acestep15.tables import AUDIO, NO_LANGUAGE_MODEL, gathered, read_fields
from acestep_flows.compat.bodies import Body
from acestep_flows.compat.exchange import Exchange, TheExchange, TheGuest
from acestep_flows.compat.family import Family
from acestep_flows.compat.fields import Draft
from acestep_flows.compat.files import ReceivedFile
from acestep_flows.compat.given_audio import GivenAudio, given_audio
from acestep_flows.compat.model_list import model_entry
from acestep_flows.compat.parsing import is_absent
from acestep_flows.compat.phases import phase_of
from acestep_flows.compat.refusal import ErrorAnswer, Refusal
from acestep_flows.compat.song_tasks import TASKS

router = APIRouter()

MOST_TASKS = 200
"""Ids in one question."""

_FILE = re.compile(r"(asset-[0-9a-f]{26})(\.[a-z0-9]{1,5})?")
_OWN = re.compile(r"asset-[0-9a-f]{26}|/v1/runs/run-[0-9a-f]{26}/outputs/")

ADAPTERS = "adapters are named in each request: lora_name_or_path in /release_task"

STATUS = {422: 400, 507: 500}
"""Statuses of 1.5 where it has others than we."""


def _body(**properties: str) -> dict[str, Any]:
    """What the OpenAPI document says of a body."""
    schema = {
        "type": "object",
        "properties": {name: {"description": text} for name, text in properties.items()},
        "additionalProperties": True,
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def _fields(exchange: Exchange) -> tuple[Body, dict[str, Any]]:
    """The body, its fields without a key in them, and with that the caller."""
    body = await exchange.read_body()
    fields = dict(body.fields)
    token = fields.pop("ai_token", None)
    exchange.identify(None if is_absent(token) else str(token))
    return body, fields


# Tasks


@router.post("/release_task", openapi_extra=_body(prompt="Tags.", lyrics="Lyrics.", audio_duration="Seconds."))
async def release_task(exchange: TheGuest) -> dict[str, Any]:
    """Accept a song. Its id is asked for with /query_result."""
    body, sent = await _fields(exchange)
    fields = gathered(sent)
    named = {name: _audio_of(name, body, fields) for name in AUDIO}
    draft = read_fields(fields, await exchange.draft())
    sources = [await _source(exchange, draft, *named[name]) for name in AUDIO]
    record = await exchange.submit(settle(draft, *sources))
    position = (await exchange.progress(record)).position
    return envelope(
        {
            "task_id": record.id,
            "status": "queued",
            "queue_position": (position or 0) + 1,
            "warnings": list(record.warnings),
        }
    )


def _audio_of(name: str, body: Body, fields: dict[str, Any]) -> list[tuple[str, Any]]:
    """The audio under a name, its aliases and their paths, files first; taken out of the fields."""
    found: list[tuple[str, Any]] = []
    for each in (name, *AUDIO[name]):
        found += [(each, file) for file in body.files.get(each, ())]
    for each in (name, *AUDIO[name]):
        camel = re.sub(r"_([a-z])", lambda part: part[1].upper(), each)
        for field in (each, f"{each}_path", camel, f"{camel}Path"):
            if not is_absent(value := fields.pop(field, None)):
                found.append((field, value))
    return found


async def _source(exchange: Exchange, draft: Draft, *named: tuple[str, Any]) -> GivenAudio | None:
    if not named:
        return None
    (field, value), *others = named
    for other, second in others:
        told = second.name if isinstance(second, ReceivedFile) else second
        draft.warn(other, told, f"not used; {field} comes first")
    if field.lower().endswith("path") and not (isinstance(value, str) and _OWN.search(value)):
        raise Refusal(field, value, "an asset or a file of this server; upload others with the request")
    return await given_audio(exchange, value, field)


@router.post("/query_result", openapi_extra=_body(task_id_list="Ids, as a list or as its JSON."))
async def query_result(exchange: TheGuest) -> dict[str, Any]:
    """Tasks in the order of their ids."""
    _, fields = await _fields(exchange)
    return envelope([await task(exchange, id) for id in _ids(fields)])


def _ids(fields: Mapping[str, Any]) -> list[str]:
    sent = fields.get("task_id_list")
    ids = sent
    if isinstance(sent, str):
        try:
            ids = json.loads(sent) if sent.lstrip().startswith(("[", '"')) else [sent]
        except (ValueError, RecursionError):
            ids = None
    ids = [ids] if isinstance(ids, str) else ids
    if not isinstance(ids, list) or len(ids) > MOST_TASKS or not all(isinstance(id, str) for id in ids):
        raise Refusal("task_id_list", sent, f"a list of at most {MOST_TASKS} ids, or its JSON")
    return ids


@router.post("/cancel_task", openapi_extra=_body(task_id="The id."))
async def cancel_task(exchange: TheGuest) -> dict[str, Any]:
    """Stop a task. 1.5 has no such route."""
    _, fields = await _fields(exchange)
    if not isinstance(id := fields.get("task_id"), str):
        raise Refusal("task_id", id, "the id of a task")
    record = await exchange.cancel(await exchange.run(id))
    return envelope({"task_id": record.id, "status": str(phase_of(record))})


@router.get("/v1/audio", response_class=Response)
async def audio(exchange: TheGuest, path: str, sig: Annotated[str | None, Query()] = None) -> Response:
    """A file of a task: whole, or a range."""
    if (file := _FILE.fullmatch(path)) is None:
        raise links.no_file(path, "by their id")
    return await links.serve_link(exchange.request, file[1], sig)


router.add_api_route("/v1/audio", audio, methods=["HEAD"], include_in_schema=False)


# What is served


@router.get("/health")
async def health(exchange: TheGuest) -> dict[str, Any]:
    """A sign of life. Needs no API key."""
    flat = {"status": "ok", "service": SERVICE, "version": __version__}
    return envelope(flat | {"loaded_model": (await exchange.model()).name}, **flat)


@router.get("/v1/models")
async def models(exchange: TheExchange) -> dict[str, Any]:
    """The model, in a list."""
    entry = model_entry((await exchange.model()).name, TASKS)
    return envelope([entry], object="list")


router.add_api_route("/api/v1/models", models, name="models_of_chat")


@router.get("/v1/model_inventory")
async def model_inventory(exchange: TheExchange) -> dict[str, Any]:
    """The model, and that there is no language model."""
    return envelope(await _inventory(exchange))


async def _inventory(exchange: Exchange) -> dict[str, Any]:
    entry = model_entry((await exchange.model()).name, TASKS)
    return {
        "models": [entry],
        "default_model": entry["id"],
        "lm_models": [],
        "loaded_lm_model": None,
        "llm_initialized": False,
    }


@router.post("/v1/init", openapi_extra=_body(model="Any."))
async def init(exchange: TheGuest) -> dict[str, Any]:
    """The model, which is loaded already."""
    await _fields(exchange)
    return envelope(await _inventory(exchange) | {"message": "the model is loaded already; nothing was changed"})


@router.get("/v1/stats")
async def stats(exchange: TheExchange) -> dict[str, Any]:
    """Tasks by status, and how long the last ones took."""
    service, caller = exchange.service, exchange.caller
    owner = None if caller.sees_whole(service) else caller.owner
    runs = service.home.runs
    counts, latest = await asyncio.gather(
        in_thread(runs.counts, owner),
        in_thread(lambda: runs.list(owner=owner, state=RunState.SUCCEEDED, limit=20)),
    )
    took = [run.seconds for run in latest.runs if run.seconds is not None]
    jobs = {str(state): counts[state] for state in (RunState.QUEUED, RunState.RUNNING, RunState.SUCCEEDED)}
    failed = counts[RunState.FAILED] + counts[RunState.CANCELLED]
    return envelope(
        {
            "jobs": {"total": sum(counts.values()), **jobs, "failed": failed},
            "queue_size": counts[RunState.QUEUED],
            "queue_maxsize": service.options.queued,
            "avg_job_seconds": round(sum(took) / len(took), 3) if took else 0.0,
        }
    )


@router.post("/create_random_sample", openapi_extra=_body(sample_type="Any."))
async def create_random_sample(exchange: TheGuest) -> dict[str, Any]:
    """One of our examples."""
    await _fields(exchange)
    example = random.choice(EXAMPLES)
    tags = str(example.inputs["tags"])
    bpm, key = re.search(r"(\d+) bpm", tags), re.search(r"\b([A-G][#b]? (?:major|minor))\b", tags)
    return envelope(
        {
            "caption": tags,
            "lyrics": example.inputs["lyrics"],
            "bpm": int(bpm[1]) if bpm else None,
            "key_scale": key[1] if key else "",
            "time_signature": "",
            "duration": example.inputs["duration"],
            "vocal_language": example.language,
        }
    )


@router.get("/v1/lora/status")
async def lora_status(exchange: TheExchange) -> dict[str, Any]:
    """Adapters, which requests name (`lora_name_or_path`)."""
    adapters = list((await exchange.model()).adapters)
    return envelope({"loaded": bool(adapters), "adapters": adapters, "use_lora": False, "scale": 1.0})


def _not_served(method: str, path: str, name: str, why: str) -> None:
    async def refuse(exchange: TheGuest) -> None:
        await _fields(exchange)
        raise HTTPException(501, why)

    router.add_api_route(path, refuse, methods=[method], name=f"{name}_{method.lower()}", status_code=501)


for _path in ("/format_input", "/v1/create_sample"):
    _not_served("POST", _path, _path.rpartition("/")[2], NO_LANGUAGE_MODEL)
for _act in ("load", "unload", "toggle", "scale"):
    _not_served("POST", f"/v1/lora/{_act}", f"lora_{_act}", ADAPTERS)
for _area in ("dataset", "training"):
    for _method in ("GET", "POST"):
        _not_served(_method, f"/v1/{_area}/{{rest:path}}", _area, "training is done by the command line here")


def render(request: Request, error: ErrorAnswer) -> Response:
    """An error, with its text under the names that clients read."""
    status = STATUS.get(error.status, error.status)
    content = {
        "detail": error.message,
        "data": None,
        "code": status,
        "error": error.message,
        "timestamp": int(time.time() * 1000),
        "extra": {"run": error.run} if error.run else None,
    }
    return JSONResponse(content, status, dict(error.headers))


FAMILY = Family("acestep15", "the REST interface of ACE-Step 1.5", router, render)
