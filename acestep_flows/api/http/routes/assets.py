"""Assets: files that runs read. Audio comes in here; outputs of runs are assets without being sent again."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from acestep_flows.api.http.dependencies import TheAnswers, TheCaller, TheService, in_thread
from acestep_flows.api.http.ranges import file_answer
from acestep_flows.api.http.schemas import ASSET_ID, Asset, Failure, Text
from acestep_flows.api.http.uploads import received, sniffed

router = APIRouter(prefix="/v1", tags=["assets"])

AssetId = Annotated[
    str, Path(pattern=ASSET_ID, description="An asset's id.", examples=["asset-0006430c8a5d1e8f3b2c9d7a41"])
]
NO_ASSET: dict[int | str, dict[str, Any]] = {
    404: {"model": Failure, "description": "There is no such asset, or not yours."}
}
BINARY = {"schema": {"type": "string", "format": "binary"}}


@router.post(
    "/assets",
    status_code=201,
    responses={
        413: {"model": Failure, "description": "The file is too large."},
        422: {"model": Failure, "description": "It is not audio, or not whole."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The file's bytes as they are: wav, flac, mp3, ogg, aiff or caf.",
            "content": {"application/octet-stream": BINARY, "audio/*": BINARY},
        }
    },
)
async def upload_asset(
    request: Request,
    service: TheService,
    caller: TheCaller,
    answers: TheAnswers,
    file_name: Annotated[
        Text, Query(max_length=255, description="What the file is called; for people only.", examples=["song.wav"])
    ] = "",
) -> Asset:
    """Upload audio, to be named by its id in the inputs of runs. The body is the file; its content says what it is."""
    home, options = service.home, service.options
    async with received(request.stream(), home.artifacts, options.upload_bytes) as upload:
        async with service.decoding.room(options.upload_decoded_bytes):
            found = await in_thread(sniffed, upload, options.upload_seconds, options.upload_decoded_bytes)
        blob = await in_thread(upload.finish)
    record = await in_thread(
        home.assets.add,
        blob,
        "audio",
        content_type=found.content_type,
        file_name=shown_name(file_name) or f"upload.{found.extension}",
        owner=caller.owner,
        details=found.details,
    )
    return answers.asset(record)


@router.get("/assets/{id}", responses=NO_ASSET)
async def show_asset(id: AssetId, service: TheService, caller: TheCaller, answers: TheAnswers) -> Asset:
    """What is known of an asset."""
    return answers.asset(await in_thread(service.home.assets.get, id, caller.sees))


@router.get(
    "/assets/{id}/content",
    response_class=Response,
    responses=NO_ASSET
    | {
        200: {"content": {"audio/*": BINARY, "application/octet-stream": BINARY}, "description": "The file."},
        206: {"content": {"audio/*": BINARY}, "description": "The range of it that was asked for."},
        304: {"description": "It has not changed."},
        416: {"description": "There is no such range."},
    },
)
async def fetch_asset(id: AssetId, request: Request, service: TheService, caller: TheCaller) -> Response:
    """An asset's content. Takes range requests; HEAD tells its size."""
    record = await in_thread(service.home.assets.get, id, caller.sees)
    return await file_answer(
        request,
        service.home.artifacts,
        digest=record.digest,
        size=record.bytes,
        content_type=record.content_type,
        file_name=record.file_name,
    )


router.add_api_route("/assets/{id}/content", fetch_asset, methods=["HEAD"], include_in_schema=False)


def shown_name(file_name: str) -> str:
    """The last part of a name that a client gave, without what could steer a terminal or a file system."""
    last = re.split(r"[/\\]", file_name)[-1]
    return "".join(char for char in last if char.isprintable()).strip(". ")[:255]
