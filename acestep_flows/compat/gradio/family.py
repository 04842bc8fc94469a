"""The routes of a Gradio page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.compat import links
from acestep_flows.compat.exchange import Exchange, TheExchange, TheGuest
from acestep_flows.compat.family import Family
from acestep_flows.compat.given_audio import GivenAudio, given_audio
from acestep_flows.compat.gradio import page
from acestep_flows.compat.gradio.events import LABEL, session_events
from acestep_flows.compat.gradio.functions import FUNCTIONS, arguments
from acestep_flows.compat.gradio.songs import parameters_of, song_of
from acestep_flows.compat.parsing import integer, is_absent
from acestep_flows.compat.refusal import ErrorAnswer, Refusal
from acestep_flows.errors import InputError, NotFound

router = APIRouter()

FILES = "files"
AUDIO = ("ref_audio_input", "source_audio")
ALLOWED = "a file that was uploaded or made here, an address, or a data: URL"
LONGEST_SESSION = 100

_OWN_FILE = re.compile(r"(asset-[0-9a-f]{26})(?:/([^/]*))?")
_AUDIO_TEXT = re.compile(r"(.*/)?asset-[0-9a-f]{26}|https?://|data:|file-", re.IGNORECASE)


def _body(**properties: Any) -> dict[str, Any]:
    """What the OpenAPI document says of a body."""
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_CALL = _body(data={"type": "array"}, fn_index={"type": "integer"}, session_hash={"type": "string"})
_CANCEL = _body(event_id={"type": "string"})
_UPLOAD = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {FILES: {"type": "string", "format": "binary"}}}
            }
        }
    }
}


@router.get("/config")
async def config(exchange: TheExchange) -> dict[str, Any]:
    """The components of the page and what they do."""
    return page.config(exchange.service.options.upload_bytes)


@router.get(f"{page.API}/info")
async def info(exchange: TheExchange) -> dict[str, Any]:
    """The functions with their parameters."""
    return page.info()


@router.post(f"{page.API}/queue/join", openapi_extra=_CALL)
async def join(exchange: TheExchange) -> dict[str, str]:
    """Accept a call. Its events come with those of its session."""
    fields = (await exchange.read_body()).fields
    function = FUNCTIONS[_index(fields)]
    session = _session(fields.get("session_hash"))
    sent = arguments(function, fields.get("data"))
    try:
        source = await _source(exchange, sent)
    except NotFound as error:  # of a status that is not 422, clients tell nothing but the number
        raise Refusal(error.field or "data", None, ALLOWED, error.what) from None
    draft = song_of(function, sent, await exchange.draft(), source)
    draft.labels[LABEL] = session
    record = await exchange.submit(draft)
    if LABEL not in record.labels:  # it was accepted before, under the same key, and told to its end
        await in_thread(exchange.service.home.labels.change, record.id, {LABEL: session})
    return {"event_id": record.id}


def _index(fields: Mapping[str, Any]) -> int:
    try:
        return int(integer(0, len(FUNCTIONS) - 1)(fields.get("fn_index")))
    except ValueError as error:
        raise Refusal("fn_index", fields.get("fn_index"), str(error)) from None


def _session(session: Any) -> str:
    if not isinstance(session, str) or not 0 < len(session) <= LONGEST_SESSION or not session.isprintable():
        raise Refusal("session_hash", session, f"a text of up to {LONGEST_SESSION} printable characters")
    return session


async def _source(exchange: Exchange, sent: Mapping[str, Any]) -> GivenAudio | None:
    """The audio of a call: one that it names, or that of the song whose parameters it gives back."""
    for field in AUDIO:
        if field in sent:
            return await given_audio(exchange, _named(sent[field], field), field)
    given = parameters_of(sent.get("json_data"))
    named = [_named(given[name], "json_data") for name in ("latents", "asset") if not is_absent(given.get(name))]
    return await given_audio(exchange, named[0], "json_data", *named[1:]) if named else None


def _named(value: Any, field: str) -> str:
    """What a file's data or a text says where audio is.

    Raises:
        Refusal: it says nothing, or a path of the server's disk.
    """
    names = [value.get("path"), value.get("url")] if isinstance(value, Mapping) else [value]
    found = next((name for name in names if isinstance(name, str) and _AUDIO_TEXT.match(name)), None)
    if found is None:
        raise Refusal(field, names[0], ALLOWED)
    return found


@router.get(f"{page.API}/queue/data", response_class=StreamingResponse)
async def queue_data(exchange: TheExchange, session_hash: str) -> Response:
    """The events of a session."""
    session = _session(session_hash)
    exchange.check_room()
    headers = {"Cache-Control": "no-store"}
    return StreamingResponse(session_events(exchange, session), headers=headers, media_type="text/event-stream")


@router.post(f"{page.API}/cancel", openapi_extra=_CANCEL)
async def cancel(exchange: TheExchange) -> dict[str, bool]:
    """Stop a call."""
    id = (await exchange.read_body()).fields.get("event_id")
    if not isinstance(id, str):
        raise Refusal("event_id", id, "the id of an event")
    await exchange.cancel(await exchange.run(id))
    return {"success": True}


router.add_api_route(f"{page.API}/reset", cancel, methods=["POST"], name="reset", openapi_extra=_CANCEL)


@router.post(f"{page.API}/upload", openapi_extra=_UPLOAD)
async def upload(exchange: TheExchange) -> list[str]:
    """Take files. They are named by the paths in the answer."""
    body = await exchange.read_body()
    if not body.files.get(FILES):
        raise Refusal(FILES, None, "files with audio, as multipart/form-data", "missing", kind="missing")
    assets = [await exchange.asset(await exchange.audio(file, FILES)) for file in body.files[FILES]]
    return [f"{asset.id}/{asset.file_name}" for asset in assets]


@router.get(f"{page.API}/file={{path:path}}", response_class=Response)
async def file(exchange: TheGuest, path: str, sig: Annotated[str | None, Query()] = None) -> Response:
    """A file of a call, or one that was uploaded."""
    if (named := _OWN_FILE.fullmatch(path)) is None:
        raise links.no_file(path, "as answers name them")
    return await links.serve_link(exchange.request, named[1], sig, named[2] or "")


def _told(fault: InputError) -> str:
    return f"{fault.what} (allowed: {fault.allowed})" if fault.allowed else fault.what


def render(request: Request, error: ErrorAnswer) -> Response:
    """An error as Gradio has it: a text, or a list of the parameters that are wrong."""
    wrong = [
        {"__type__": "validate", "is_valid": False, "message": _told(fault), "parameter_name": fault.field}
        for fault in error.faults
    ]
    detail = wrong if error.status == 422 and wrong else error.message
    content = {"detail": detail, "error": error.message} | ({"run": error.run} if error.run else {})
    return JSONResponse(content, error.status, dict(error.headers))


FAMILY = Family("gradio", "v1's Gradio page", router, render)
