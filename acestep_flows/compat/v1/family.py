"""The REST servers of version 1: `infer-api` and `trainer-api`, which share the path /generate."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from acestep_flows.compat.exchange import Exchange, TheExchange
from acestep_flows.compat.family import Family
from acestep_flows.compat.fields import Draft
from acestep_flows.compat.refusal import ErrorAnswer
from acestep_flows.compat.v1.tables import file_stem, infer_song, is_trainer, trainer_song

router = APIRouter()

SAMPLE_RATE = 48_000
"""Of songs whose file does not say it."""

BODY = {
    "type": "object",
    "description": "Fields of infer-api (with lyrics), or of trainer-api (with infer_steps and without lyrics).",
    "additionalProperties": True,
}
OPENAPI = {"requestBody": {"required": True, "content": {"application/json": {"schema": BODY}}}}


@router.get("/health")
async def health() -> dict[str, str]:
    """A sign of life. Needs no API key."""
    return {"status": "healthy"}


@router.post("/generate", openapi_extra=OPENAPI)
async def generate(exchange: TheExchange) -> dict[str, Any]:
    """Make a song, wait for it, and answer with its address."""
    fields = (await exchange.read_body()).fields
    draft = await exchange.draft()
    if is_trainer(fields):
        return await _trainer_answer(exchange, trainer_song(fields, draft))
    return await _infer_answer(exchange, infer_song(fields, draft))


async def _infer_answer(exchange: Exchange, draft: Draft) -> dict[str, Any]:
    record = await exchange.wait_or_fail(await exchange.submit(draft))
    stem = file_stem(draft)
    urls = [
        await exchange.file_url(take.asset, f"{stem}{f'_{at}' if at else ''}.{record.format}" if stem else "")
        for at, take in enumerate(await exchange.takes(record))
    ]
    answer = {
        "status": "success",
        "output_path": urls[0],
        "message": f"run {record.id} made it; fetch it from output_path",
        "warnings": list(record.warnings),
        "run": record.id,
    }
    return answer | ({"output_paths": urls} if len(urls) > 1 else {})


async def _trainer_answer(exchange: Exchange, draft: Draft) -> dict[str, Any]:
    record = await exchange.wait_or_fail(await exchange.submit(draft))
    (take,) = await exchange.takes(record)
    return {
        "audio_path": take.url,
        "prompt": draft.inputs["tags"],
        "seed": take.seed,
        "sample_rate": take.asset.details.get("sample_rate", SAMPLE_RATE),
        "warnings": list(record.warnings),
        "run": record.id,
    }


def render(request: Request, error: ErrorAnswer) -> Response:
    """An error as FastAPI has it: a list of the fields at fault, or a text."""
    detail = error.locations if error.status == 422 and error.faults else error.message
    content = {"detail": detail} | ({"run": error.run} if error.run else {})
    return JSONResponse(content, error.status, dict(error.headers))


FAMILY = Family("v1", "the REST servers of ACE-Step v1", router, render)
