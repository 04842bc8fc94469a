"""Routes for what is made from a stored file: peaks for drawing, and links that work without a key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from acestep_flows.api.http import examples
from acestep_flows.api.http.account_schemas import FileLink, LinkRequest, Peaks
from acestep_flows.api.http.dependencies import Caller, TheCaller, TheService, in_thread
from acestep_flows.api.http.file_links import FileLinks
from acestep_flows.api.http.json_body import JsonRoute
from acestep_flows.api.http.page_origin import server_address
from acestep_flows.api.http.ranges import content_disposition
from acestep_flows.api.http.response_schemas import Failure
from acestep_flows.api.http.routes.declarations import (
    FILE,
    NO_ASSET,
    NO_RUN,
    AssetId,
    DispositionQuery,
    FormatQuery,
    OutputName,
    Responses,
    RunId,
)
from acestep_flows.api.http.routes.run_files import find_output
from acestep_flows.api.http.stored_file import asset_response, peaks_response
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import AssetRecord

router = APIRouter(prefix="/v1", route_class=JsonRoute)

PEAKS: Responses = {
    200: {"model": Peaks, "description": "The peaks."},
    206: {"description": "The requested range of the JSON."},
    304: {"description": "The file has not changed."},
    416: {"description": "The file has no such range."},
}
PerSecond = Annotated[int, Query(ge=1, le=200, description="Pairs in a second.", examples=[50])]
Token = Annotated[
    str,
    Path(max_length=200, description="The token of a link.", examples=[f"{examples.ASSET}.1772971200.{'5f' * 32}"]),
]


@router.get("/runs/{id}/outputs/{name}/peaks", response_model=Peaks, responses=NO_RUN | PEAKS, tags=["runs"])
async def output_peaks(
    id: RunId, name: OutputName, request: Request, service: TheService, caller: TheCaller, per_second: PerSecond = 50
) -> Response:
    """The waveform of an audio output, for drawing it before the audio has come."""
    return await peaks_response(request, service, caller.owner, await _output(service, caller, id, name), per_second)


@router.get("/assets/{id}/peaks", response_model=Peaks, responses=NO_ASSET | PEAKS, tags=["assets"])
async def asset_peaks(
    id: AssetId, request: Request, service: TheService, caller: TheCaller, per_second: PerSecond = 50
) -> Response:
    """The waveform of an asset."""
    asset = await in_thread(service.home.assets.get, id, caller.visible_owner)
    return await peaks_response(request, service, caller.owner, asset, per_second)


@router.post("/runs/{id}/outputs/{name}/link", status_code=201, responses=NO_RUN, tags=["runs"])
async def link_output(
    id: RunId, name: OutputName, body: LinkRequest, request: Request, service: TheService, caller: TheCaller
) -> FileLink:
    """A link to an output that works without a key until it expires."""
    return await _link(request, service, caller, await _output(service, caller, id, name), body.seconds)


@router.post("/assets/{id}/link", status_code=201, responses=NO_ASSET, tags=["assets"])
async def link_asset(
    id: AssetId, body: LinkRequest, request: Request, service: TheService, caller: TheCaller
) -> FileLink:
    """A link to an asset that works without a key until it expires."""
    asset = await in_thread(service.home.assets.get, id, caller.visible_owner)
    return await _link(request, service, caller, asset, body.seconds)


@router.get(
    "/links/{token}",
    response_class=Response,
    tags=["assets"],
    responses=FILE
    | {404: {"model": Failure, "description": "There is no such link, it has expired, or its file or key is gone."}},
)
async def open_link(
    token: Token,
    request: Request,
    service: TheService,
    format: FormatQuery = None,
    disposition: DispositionQuery = "attachment",
) -> Response:
    """The file of a link. Needs no API key. Accepts range requests; HEAD returns its size."""
    links: FileLinks = request.app.state.links
    asset = await in_thread(links.open, token)
    return await asset_response(request, service, asset.owner, asset, format, disposition)


router.add_api_route("/links/{token}", open_link, methods=["HEAD"], include_in_schema=False)


async def _output(service: Service, caller: Caller, id: str, name: str) -> AssetRecord:
    record = await in_thread(service.home.runs.get, id, caller.visible_owner)
    return await in_thread(service.home.assets.get, find_output(record, name).asset, caller.visible_owner)


async def _link(request: Request, service: Service, caller: Caller, asset: AssetRecord, seconds: int) -> FileLink:
    links: FileLinks = request.app.state.links
    expires_at = int(time.time()) + seconds
    token = await in_thread(links.sign, asset, expires_at)
    await in_thread(service.home.audit.add, caller.owner, "link.made", asset.id, seconds=seconds)
    url = f"{server_address(request)}/v1/links/{token}"
    direct = await in_thread(_direct_link, service, asset, seconds) if service.options.direct_links else None
    return FileLink(url=url, expires_at=datetime.fromtimestamp(expires_at, UTC), direct=direct)


def _direct_link(service: Service, asset: AssetRecord, seconds: int) -> str | None:
    headers = {"ContentType": asset.content_type, "ContentDisposition": content_disposition(asset.file_name)}
    return service.home.artifacts.direct_link(asset.digest, seconds, headers)
