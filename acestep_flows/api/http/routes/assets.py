"""Routes for assets, the files that runs read. Clients upload audio or latents; outputs of runs are assets already."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from acestep_flows.api.http.dependencies import TheBuilder, TheCaller, TheService, in_thread
from acestep_flows.api.http.form_upload import NAME_FIELD, FormFile, form_boundary
from acestep_flows.api.http.ranges import file_response
from acestep_flows.api.http.response_schemas import Asset, Failure
from acestep_flows.api.http.routes.declarations import BINARY, FILE, NO_ASSET, AssetId
from acestep_flows.api.http.schema_base import Text
from acestep_flows.api.http.uploads import inspect_upload, receive_upload

router = APIRouter(prefix="/v1", tags=["assets"])

LONGEST_NAME = 240
"""Bytes of a file name. Names of files made from it are a little longer, and no file system takes more than 255."""

LONGEST_SUFFIX = 20
FORM_SCHEMA = {
    "type": "object",
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "The file."},
        NAME_FIELD: {"type": "string", "description": "A name for the file, if not its own."},
    },
    "required": ["file"],
    "additionalProperties": False,
}


@router.post(
    "/assets",
    status_code=201,
    responses={
        413: {"model": Failure, "description": "The file is too large."},
        422: {"model": Failure, "description": "The file is neither audio nor latents, or is damaged."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The bytes of the file (audio as wav, flac, mp3, ogg, aiff or caf; latents as "
            "safetensors, as outputs have them), or a form with the file.",
            "content": {"multipart/form-data": {"schema": FORM_SCHEMA}, "application/octet-stream": BINARY},
        }
    },
)
async def upload_asset(
    request: Request,
    service: TheService,
    caller: TheCaller,
    builder: TheBuilder,
    file_name: Annotated[
        Text, Query(max_length=255, description="Name of the file, shown to people only.", examples=["song.wav"])
    ] = "",
) -> Asset:
    """Upload audio or latents for inputs of runs, which name them by the id. The body is the file, or a form with the
    file (`curl -F file=@song.wav`); its format is detected. Latents are a file as outputs of runs have them."""
    home, options = service.home, service.options
    boundary = form_boundary(request.headers.get("content-type", ""))
    form = None if boundary is None else FormFile(request.stream(), boundary)
    stream = request.stream() if form is None else form.chunks()
    field = "body" if form is None else "file"
    async with receive_upload(stream, home.artifacts, options.upload_bytes, field) as upload:
        async with service.decode_budget.reserve(options.upload_decoded_bytes):
            name = safe_name(file_name or (form.name if form else ""))
            bounds = (options.upload_seconds, options.upload_decoded_bytes)
            info = await in_thread(inspect_upload, upload, *bounds, name, field)
        await in_thread(home.quotas.check_upload, caller.owner, caller.quotas, upload.bytes)
        blob = await in_thread(upload.finish)
    record = await in_thread(
        home.assets.add,
        blob,
        info.kind,
        content_type=info.content_type,
        file_name=name or f"upload.{info.extension}",
        owner=caller.owner,
        details=info.details,
    )
    return builder.asset(record)


@router.get("/assets/{id}", responses=NO_ASSET)
async def show_asset(id: AssetId, service: TheService, caller: TheCaller, builder: TheBuilder) -> Asset:
    """An asset, without its content."""
    return builder.asset(await in_thread(service.home.assets.get, id, caller.visible_owner))


@router.get("/assets/{id}/content", response_class=Response, responses=NO_ASSET | FILE)
async def fetch_asset(id: AssetId, request: Request, service: TheService, caller: TheCaller) -> Response:
    """The content of an asset. Accepts range requests; HEAD returns its size."""
    record = await in_thread(service.home.assets.get, id, caller.visible_owner)
    return await file_response(
        request,
        service.home.artifacts,
        digest=record.digest,
        size=record.bytes,
        content_type=record.content_type,
        file_name=record.file_name,
    )


router.add_api_route("/assets/{id}/content", fetch_asset, methods=["HEAD"], include_in_schema=False)


def safe_name(file_name: str) -> str:
    """The last part of a client's file name, without characters that control a terminal or a file system.

    A long name is cut before its extension, to what every file system takes.
    """
    last = re.split(r"[/\\]", file_name)[-1]
    name = PurePath("".join(char for char in last if char.isprintable()).strip(". "))
    suffix = name.suffix if len(name.suffix.encode()) <= LONGEST_SUFFIX else ""
    stem = name.name.removesuffix(suffix).encode()[: LONGEST_NAME - len(suffix.encode())]
    return stem.decode(errors="ignore") + suffix
