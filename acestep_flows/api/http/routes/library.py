"""Routes for what a caller has: labels of runs, uploads, deletion of outputs and uploads, and all events."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from acestep_flows.api.http import examples
from acestep_flows.api.http.account_schemas import AssetList, LabelChanges
from acestep_flows.api.http.dependencies import Streams, TheBuilder, TheCaller, TheService, in_thread
from acestep_flows.api.http.event_feed import follow_all
from acestep_flows.api.http.event_stream import TYPE, resume_point
from acestep_flows.api.http.json_body import JsonRoute
from acestep_flows.api.http.response_schemas import Run
from acestep_flows.api.http.routes.declarations import IN_USE, NO_ASSET, NO_RUN, AssetId, LastEventId, OutputName, RunId
from acestep_flows.api.http.routes.run_files import find_output
from acestep_flows.api.http.routes.runs import STREAM, full_run
from acestep_flows.api.http.schema_base import ASSET_ID
from acestep_flows.api.store.runs import LARGEST_PAGE

router = APIRouter(prefix="/v1", route_class=JsonRoute)


@router.patch("/runs/{id}", responses=NO_RUN, tags=["runs"])
async def change_run(id: RunId, body: LabelChanges, service: TheService, caller: TheCaller, builder: TheBuilder) -> Run:
    """Change labels of a run, such as its title. Nothing else of a run can change."""
    await in_thread(service.home.runs.get, id, caller.visible_owner)  # knows what is not an id at all
    await in_thread(service.home.labels.change, id, body.labels, caller.visible_owner)
    return await full_run(service, await in_thread(service.home.runs.get, id, caller.visible_owner), builder)


@router.delete("/runs/{id}/outputs/{name}", status_code=204, responses=NO_RUN | IN_USE, tags=["runs"])
async def delete_output(id: RunId, name: OutputName, service: TheService, caller: TheCaller) -> Response:
    """Delete the file of an output. The run still lists it, as expired."""
    output = find_output(await in_thread(service.home.runs.get, id, caller.visible_owner), name)
    await in_thread(service.home.deletion.delete_asset, output.asset, caller.visible_owner)
    return Response(status_code=204)


@router.get("/assets", tags=["assets"])
async def list_assets(
    service: TheService,
    caller: TheCaller,
    builder: TheBuilder,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Uploads on a page.", examples=[20])] = 50,
    after: Annotated[
        str | None, Query(pattern=ASSET_ID, description="The 'next' of the page before.", examples=[examples.ASSET])
    ] = None,
) -> AssetList:
    """The caller's uploads, newest first. Outputs are listed with their runs."""
    page = await in_thread(service.home.assets.uploads, owner=caller.visible_owner, limit=limit, after=after)
    return AssetList(assets=[builder.asset(record) for record in page.assets], next=page.next)


@router.delete("/assets/{id}", status_code=204, responses=NO_ASSET | IN_USE, tags=["assets"])
async def delete_asset(id: AssetId, service: TheService, caller: TheCaller) -> Response:
    """Delete an upload, or the file of an output."""
    await in_thread(service.home.assets.get, id, caller.visible_owner)
    await in_thread(service.home.deletion.delete_asset, id, caller.visible_owner)
    return Response(status_code=204)


@router.get(
    "/events",
    tags=["runs"],
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {TYPE: {"schema": STREAM, "example": 'id: 7\nevent: started\ndata: {"run": "run-00"}\n\n'}},
            "description": "Server-sent events of all of the caller's runs, without end. The first one is `ready`.",
        }
    },
)
async def follow_runs(
    request: Request,
    service: TheService,
    caller: TheCaller,
    after: Annotated[
        int | None,
        Query(ge=0, le=2**53, description="Only events after this number; without it, from now on.", examples=[12]),
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """The events of all of the caller's runs in one stream. Data has the run and the event's number within it."""
    head = await in_thread(service.home.feed.head)
    start = min(resume_point(last_event_id, head if after is None else after), head)
    streams: Streams = request.app.state.streams
    streams.check(caller.owner)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follow_all(service, streams, caller, start), headers=headers, media_type=TYPE)
