"""Routes for runs: submit, list, show, follow and cancel them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from acestep_flows.api.http import examples
from acestep_flows.api.http.dependencies import Streams, TheBuilder, TheCaller, TheService, in_thread
from acestep_flows.api.http.event_stream import TYPE, follow, resume_point
from acestep_flows.api.http.json_body import JsonRoute
from acestep_flows.api.http.long_poll import wait_for_end
from acestep_flows.api.http.request_schemas import RunRequest
from acestep_flows.api.http.response_schemas import Failure, Run, RunPage
from acestep_flows.api.http.responses import ResponseBuilder
from acestep_flows.api.http.routes.declarations import (
    NO_GRAPH,
    NO_RUN,
    NOT_ACCEPTED,
    IdempotencyKey,
    LastEventId,
    Responses,
    RunId,
)
from acestep_flows.api.http.run_filters import RunFilters
from acestep_flows.api.http.schema_base import RUN_ID
from acestep_flows.api.http.submission import accept_run
from acestep_flows.api.http.turns import TheTurn
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord
from acestep_flows.api.store.runs import LARGEST_PAGE

router = APIRouter(prefix="/v1", route_class=JsonRoute, tags=["runs"])

LONGEST_WAIT = 60.0
"""Seconds that a request may wait. Many proxies and clients give up after a longer time."""

FORGOTTEN: Responses = {
    204: {"description": "The run is forgotten (`forget=true`)."},
    409: {"model": Failure, "description": "The run has not ended, or an unfinished run reads its outputs."},
}

EVENT = {
    "type": "object",
    "description": "One event of the stream. Its data is JSON: seq, type, time (seconds since 1970), at "
    "(the same in ISO 8601), node, stage, progress, step, steps.",
    "properties": {
        "id": {"type": "string", "description": "Number of the event. Send it as Last-Event-ID to resume after it."},
        "event": {
            "type": "string",
            "description": "Type of the event, such as started, progress, preview, finished, succeeded.",
        },
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}

STREAM = {"anyOf": [EVENT, {"type": "string", "description": "All events as text."}]}
"""Generators of clients take the stream as text; who reads it event by event has objects."""


@router.post("/runs", status_code=202, responses=NO_GRAPH | NOT_ACCEPTED)
async def submit_run(
    body: RunRequest,
    service: TheService,
    caller: TheCaller,
    turn: TheTurn,
    builder: TheBuilder,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Run:
    """Submit a run. When this responds, the run is on disk, and it will end exactly once."""
    record = await accept_run(service, caller, body.graph, body.inputs, body, idempotency_key, turn)
    response.headers["Location"] = builder.run_url(record.id)
    return await full_run(service, record, builder)


@router.get("/runs")
async def list_runs(
    service: TheService,
    caller: TheCaller,
    builder: TheBuilder,
    filters: RunFilters,
    inputs: Annotated[bool, Query(description="Whether to list the inputs of runs.", examples=[True])] = False,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Runs on a page.", examples=[20])] = 50,
    after: Annotated[
        str | None,
        Query(pattern=RUN_ID, description="The 'next' of the page before.", examples=[examples.RUN]),
    ] = None,
) -> RunPage:
    """The caller's runs, newest first."""
    page = await in_thread(service.home.runs.list, owner=caller.visible_owner, limit=limit, after=after, **filters)
    return RunPage(runs=[builder.summary(record, inputs) for record in page.runs], next=page.next)


@router.get("/runs/{id}", responses=NO_RUN)
async def show_run(
    id: RunId,
    request: Request,
    service: TheService,
    caller: TheCaller,
    builder: TheBuilder,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=LONGEST_WAIT,
            description="Seconds to wait for the end of the run. The response comes when the run ends, or after this "
            "time with the run as it is. A server with too many waiting requests responds at once.",
            examples=[10],
        ),
    ] = 0,
) -> Run:
    """A run, now or when it has ended."""
    record = await in_thread(service.home.runs.get, id, caller.visible_owner)
    streams: Streams = request.app.state.streams
    if wait > 0 and not record.state.ended and streams.has_room(caller.owner):
        async with streams.hold(caller.owner):
            seconds = min(wait, service.options.render_seconds)
            record = await wait_for_end(service, caller, id, seconds, request.is_disconnected)
    return await full_run(service, record, builder)


@router.delete("/runs/{id}", status_code=202, response_model=Run, responses=NO_RUN | FORGOTTEN)
async def cancel_run(
    id: RunId,
    service: TheService,
    caller: TheCaller,
    builder: TheBuilder,
    forget: Annotated[
        bool,
        Query(
            description="Delete a run that has ended: its record, events and outputs. A run in hand is refused (409).",
            examples=[False],
        ),
    ] = False,
) -> Run | Response:
    """Cancel a run: at once if it is queued, at its next step if it is running. Ended runs do not change.

    With `forget=true` delete a run that has ended.
    """
    if forget:
        await in_thread(service.home.runs.get, id, caller.visible_owner)  # knows what is not an id at all
        await in_thread(service.home.deletion.forget_run, id, caller.visible_owner)
        return Response(status_code=204)
    record = await in_thread(service.home.runs.cancel, id, caller.visible_owner)
    service.notifier.notify([id])
    return await full_run(service, record, builder)


@router.get(
    "/runs/{id}/events",
    response_class=StreamingResponse,
    responses=NO_RUN
    | {
        200: {
            "content": {TYPE: {"schema": STREAM, "example": 'id: 2\nevent: started\ndata: {"seq": 2}\n\n'}},
            "description": "Server-sent events until the run has ended.",
        },
        204: {"description": "The run has ended, and there are no later events."},
    },
)
async def follow_run(
    id: RunId,
    request: Request,
    service: TheService,
    caller: TheCaller,
    after: Annotated[int, Query(ge=0, le=2**53, description="Only events after this one.", examples=[12])] = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """The events of a run as they happen, after the one that Last-Event-ID names."""
    after = resume_point(last_event_id, after)
    record = await in_thread(service.home.runs.get, id, caller.visible_owner)
    if record.state.ended and not await in_thread(service.home.runs.events, id, after, 1):
        return Response(status_code=204)
    streams: Streams = request.app.state.streams
    streams.check(caller.owner)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follow(service, streams, caller, id, after), headers=headers, media_type=TYPE)


async def full_run(service: Service, record: RunRecord, builder: ResponseBuilder) -> Run:
    """A run with its nodes, previews and queue estimate."""
    runs = service.home.runs

    def build() -> Run:
        previews = service.home.previews.all(record.id) if record.preview_every else ()
        return builder.run(
            record, runs.nodes(record.id), runs.queue_estimate(record.id, service.keys.are_several), previews
        )

    return await in_thread(build)
