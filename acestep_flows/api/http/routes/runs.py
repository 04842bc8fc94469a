"""Runs: submit, look at, follow, cancel, fetch what they gave; and songs to wait for."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from acestep_flows.api.execution.webhooks import check_url
from acestep_flows.api.http import examples
from acestep_flows.api.http.dependencies import Caller, Streams, TheAnswers, TheCaller, TheService, in_thread
from acestep_flows.api.http.errors import FaultResponse, answer, status_of
from acestep_flows.api.http.event_stream import TYPE, follow, resume_point
from acestep_flows.api.http.long_poll import until_over
from acestep_flows.api.http.ranges import file_answer
from acestep_flows.api.http.responses import Answers
from acestep_flows.api.http.routes.graphs import NOT_FOUND as NO_GRAPH
from acestep_flows.api.http.routes.graphs import GraphName, own_graph, planned_for
from acestep_flows.api.http.schemas import (
    RUN_ID,
    Failure,
    OutputList,
    RenderRequest,
    Run,
    RunOptions,
    RunPage,
    RunRequest,
    Text,
)
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import OutputRecord, QueueLimits, RunRecord, RunState
from acestep_flows.api.store.runs import LARGEST_PAGE, LONGEST_KEY
from acestep_flows.errors import DeadlineExceeded, InputError, NotFound, Overloaded
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.content import sha256
from acestep_flows.graph.language.wording import unlike

router = APIRouter(prefix="/v1", tags=["runs"])

LONGEST_WAIT = 60.0
"""Seconds a request may be held: less than proxies and clients bear."""

UNREADY_SECONDS = 5.0
"""When to come again to a server that takes no runs: it starts, or ends and another takes its place."""

RunId = Annotated[str, Path(pattern=RUN_ID, description="A run's id.", examples=[examples.RUN])]
OutputName = Annotated[str, Path(max_length=400, description="An output's name.", examples=["audio"])]
NodeId = Annotated[str, Path(max_length=400, description="A node's id.", examples=["take"])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=LONGEST_KEY,
        description="As in the body.",
        examples=["night-bus-take-3"],
    ),
]
Declared = dict[int | str, dict[str, Any]]
NO_RUN: Declared = {404: {"model": Failure, "description": "There is no such run, or not yours."}}
TAKEN: Declared = {
    409: {"model": Failure, "description": "The idempotency key was used for another request."},
    503: {
        "model": Failure,
        "description": "The queue is full, or the server ends; Retry-After says when to come again.",
    },
}
BINARY = {"schema": {"type": "string", "format": "binary"}}
EVENT = {
    "type": "object",
    "description": "One event of the stream; its data is JSON: seq, type, time, node, stage, progress, step, steps.",
    "properties": {
        "id": {"type": "string", "description": "Its number; give the last you saw as Last-Event-ID to go on."},
        "event": {
            "type": "string",
            "description": "What happened, such as started, progress, preview, finished, succeeded.",
        },
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}
FILE: Declared = {
    200: {"content": {"audio/*": BINARY, "application/octet-stream": BINARY}, "description": "The file."},
    206: {"content": {"audio/*": BINARY}, "description": "The range of it that was asked for."},
    304: {"description": "It has not changed."},
    416: {"description": "There is no such range."},
}
PREVIEW: Declared = {
    200: {
        "content": {"audio/wav": BINARY},
        "description": "The file.",
        "headers": {"X-Step": {"description": "The step it was taken after.", "schema": {"type": "integer"}}},
    },
    **{status: FILE[status] for status in (206, 304, 416)},
}


@router.post("/runs", status_code=202, responses=NO_GRAPH | TAKEN)
async def submit_run(
    body: RunRequest,
    service: TheService,
    caller: TheCaller,
    answers: TheAnswers,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Run:
    """Have a graph run. When this answers, the run is on disk and will end exactly once."""
    record = await accept(service, caller, body.graph, body.inputs, body, idempotency_key)
    response.headers["Location"] = answers.run_url(record.id)
    return await _whole(service, record, answers)


@router.get("/runs")
async def list_runs(
    service: TheService,
    caller: TheCaller,
    answers: TheAnswers,
    state: Annotated[RunState | None, Query(description="Only runs in this state.", examples=["running"])] = None,
    graph: Annotated[
        Text | None, Query(max_length=200, description="Only runs of this graph.", examples=["text2music"])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="Runs on a page.", examples=[20])] = 50,
    after: Annotated[
        str | None, Query(pattern=RUN_ID, description="What the page before named as next.", examples=[examples.RUN])
    ] = None,
) -> RunPage:
    """Your runs, the newest first."""
    page = await in_thread(
        service.home.runs.list, owner=caller.sees, state=state, graph=graph, limit=limit, after=after
    )
    return RunPage(runs=[answers.summary(record) for record in page.runs], next=page.next)


@router.get("/runs/{id}", responses=NO_RUN)
async def show_run(
    id: RunId,
    request: Request,
    service: TheService,
    caller: TheCaller,
    answers: TheAnswers,
    wait: Annotated[
        float,
        Query(
            ge=0,
            le=LONGEST_WAIT,
            description="Seconds to wait for the end of the run, as far as the server allows; it answers when the run "
            "is over, or then as it stands. A server with no room for more who wait answers at once.",
            examples=[10],
        ),
    ] = 0,
) -> Run:
    """Where a run stands, now or when it is over."""
    record = await in_thread(service.home.runs.get, id, caller.sees)
    streams: Streams = request.app.state.streams
    if wait > 0 and not record.state.ended and streams.room(caller.owner):
        async with streams.one(caller.owner):
            record = await until_over(service, id, min(wait, service.options.render_seconds), request.is_disconnected)
    return await _whole(service, record, answers)


@router.delete("/runs/{id}", status_code=202, responses=NO_RUN)
async def cancel_run(id: RunId, service: TheService, caller: TheCaller, answers: TheAnswers) -> Run:
    """Stop a run: at once where it waits, at its next step boundary where it works. One that is over stays as it is."""
    record = await in_thread(service.home.runs.cancel, id, caller.sees)
    service.bell.ring([id])
    return await _whole(service, record, answers)


@router.get(
    "/runs/{id}/events",
    response_class=StreamingResponse,
    responses=NO_RUN
    | {
        200: {
            "content": {TYPE: {"schema": EVENT, "example": 'id: 2\nevent: started\ndata: {"seq": 2}\n\n'}},
            "description": "Server-sent events until the run is over.",
        },
        204: {"description": "All was told: the run is over, and the last event is the one you have."},
    },
)
async def follow_run(
    id: RunId,
    request: Request,
    service: TheService,
    caller: TheCaller,
    after: Annotated[int, Query(ge=0, le=2**53, description="Only events after this one.", examples=[12])] = 0,
    last_event_id: Annotated[
        str | None,
        Header(alias="Last-Event-ID", max_length=20, description="As 'after'; browsers send it.", examples=["12"]),
    ] = None,
) -> Response:
    """What happens to a run, as it happens; goes on after the event named by Last-Event-ID."""
    after = resume_point(last_event_id, after)
    record = await in_thread(service.home.runs.get, id, caller.sees)
    if record.state.ended and not await in_thread(service.home.runs.events, id, after, 1):
        return Response(status_code=204)
    streams: Streams = request.app.state.streams
    streams.check(caller.owner)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follow(service, streams, caller.owner, id, after), headers=headers, media_type=TYPE)


@router.get("/runs/{id}/outputs", responses=NO_RUN)
async def list_outputs(id: RunId, service: TheService, caller: TheCaller, answers: TheAnswers) -> OutputList:
    """What a run gave, without the rest of it."""
    return answers.outputs(await in_thread(service.home.runs.get, id, caller.sees))


@router.get("/runs/{id}/outputs/{name}", response_class=Response, responses=NO_RUN | FILE)
async def fetch_output(
    id: RunId, name: OutputName, request: Request, service: TheService, caller: TheCaller
) -> Response:
    """A file that a run gave. Takes range requests; HEAD tells its size."""
    record = await in_thread(service.home.runs.get, id, caller.sees)
    return await _file(request, service, output_of(record, name))


router.add_api_route("/runs/{id}/outputs/{name}", fetch_output, methods=["HEAD"], include_in_schema=False)


@router.get("/runs/{id}/previews/{node:path}", response_class=Response, responses=NO_RUN | PREVIEW)
async def fetch_preview(id: RunId, node: NodeId, request: Request, service: TheService, caller: TheCaller) -> Response:
    """The latest preview of a node: how the song would sound, if it were over now. Each takes the former's place."""
    await in_thread(service.home.runs.get, id, caller.sees)
    preview = await in_thread(service.home.previews.get, id, node)
    while True:
        try:
            found = await _stored(request, service, preview.digest, preview.bytes, "audio/wav", f"{id}-preview.wav")
        except NotFound:  # the next one has taken its place, or there is none any more
            before, preview = preview, await in_thread(service.home.previews.get, id, node)
            if preview == before:
                raise
        else:
            found.headers.update({"Cache-Control": "private, no-cache", "X-Step": str(preview.step)})
            return found


router.add_api_route("/runs/{id}/previews/{node:path}", fetch_preview, methods=["HEAD"], include_in_schema=False)


@router.post(
    "/graphs/{name}:render",
    response_class=Response,
    responses=NO_GRAPH
    | TAKEN
    | {
        200: FILE[200],
        504: {"model": Failure, "description": "It takes longer; the run goes on, and 'run' says where."},
    },
)
async def render(
    name: GraphName,
    body: RenderRequest,
    request: Request,
    service: TheService,
    caller: TheCaller,
    answers: TheAnswers,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have a graph run, wait for it, and be answered with the audio."""
    streams: Streams = request.app.state.streams
    async with streams.one(caller.owner):
        scope = await in_thread(service.scope, name)
        check_output(scope, body.output)
        record = await accept(service, caller, name, body.inputs, body, idempotency_key)
        seconds = min(body.timeout, service.options.render_seconds)
        record = await until_over(service, record.id, seconds, request.is_disconnected)
    url = answers.run_url(record.id)
    headers = {"Link": f'<{url}>; rel="monitor"', "X-Run-Id": record.id}
    told = {"run": {"id": record.id, "url": url}}
    if not record.state.ended:
        late = DeadlineExceeded(f"run {record.id} takes longer than {seconds:g} s; it goes on")
        response: Response = answer(late, extra=told)
    elif (fault := answers.fault(record.error)) is not None:
        response = FaultResponse({"error": fault.model_dump(exclude={"problems"})} | told, status_of(fault.code))
    else:
        response = await _file(request, service, first_audio(record, body.output))
    response.headers.update(headers)
    return response


async def accept(
    service: Service,
    caller: Caller,
    graph: str | dict[str, Any],
    inputs: dict[str, Any],
    options: RunOptions,
    header: str | None,
) -> RunRecord:
    """Put a run in the table.

    Raises:
        FlowsError: as the graph, the inputs and the table say; nothing is kept then.
    """
    if header is not None and options.idempotency_key not in (None, header):
        raise InputError("differs from the header's", where="idempotency_key", allowed="one of the two, or the same")
    if options.webhook is not None:
        check_url(options.webhook.url, service.webhook_secret, service.options.private_webhooks)
    if not isinstance(graph, str) and not service.options.inline_graphs:
        raise InputError("a graph of your own", where="graph", allowed="the name of a graph of this server")
    asked = [graph, inputs, options.model_dump(mode="json", include=set(RunOptions.model_fields) - {"idempotency_key"})]

    key, digest = header or options.idempotency_key, sha256(asked)

    def work() -> tuple[RunRecord, bool]:
        # First of all: what was accepted once is answered, though an asset in it may have expired since.
        if key is not None and (known := service.home.runs.accepted(caller.owner, key, digest)) is not None:
            return known, False
        if reason := service.ready():
            raise Overloaded(f"no runs are taken now: {reason}", retry_after=UNREADY_SECONDS)
        scope = service.scope(graph) if isinstance(graph, str) else service.checked(own_graph(graph))
        plan, new = planned_for(service, caller, scope, inputs)
        new = dataclasses.replace(
            new,
            owner=caller.owner,
            priority=options.priority,
            deadline=options.deadline,
            preview_every=options.preview_every,
            cache=options.cache,
            format=options.format,
            webhook=None if options.webhook is None else options.webhook.model_dump(),
            idempotency_key=key,
            request_digest=digest,
            expected_seconds=service.expected_seconds(plan),
        )
        owned = caller.key.runs if caller.key is not None else None
        return service.home.runs.accept(new, QueueLimits(service.options.queued, owned))

    record, is_new = await in_thread(work)
    if is_new:
        service.accepted()
    return record


def check_output(scope: Scope, name: str | None) -> None:
    """Refuse, before anything runs, an output that the graph does not have."""
    outputs = scope.graph.outputs.entries
    if name is not None and name.partition(".")[0] not in outputs:
        raise InputError(unlike("output", name, outputs), where="output")


def output_of(record: RunRecord, name: str) -> OutputRecord:
    """One output of a run; raises NotFound."""
    if name not in record.outputs:
        state = "" if record.state is RunState.SUCCEEDED else f"; the run is {record.state}"
        raise NotFound(unlike("output", name, record.outputs) + state)
    return record.outputs[name]


def first_audio(record: RunRecord, name: str | None) -> OutputRecord:
    """The output named, or the first audio, or the first of all; raises NotFound."""
    if name is not None:
        return output_of(record, name)
    audio = [output for output in record.outputs.values() if output.kind == "audio"]
    for output in (*audio, *record.outputs.values()):
        return output
    raise NotFound("the run gave nothing")


async def _whole(service: Service, record: RunRecord, answers: Answers) -> Run:
    runs = service.home.runs

    def work() -> Run:
        previews = service.home.previews.all(record.id) if record.preview_every else ()
        return answers.run(record, runs.nodes(record.id), runs.queue_estimate(record.id), previews)

    return await in_thread(work)


async def _file(request: Request, service: Service, output: OutputRecord) -> Response:
    if output.expired:
        raise NotFound(f"output {output.name!r} is not kept any more")
    return await _stored(request, service, output.digest, output.bytes, output.content_type, output.file_name)


async def _stored(
    request: Request, service: Service, digest: str, size: int, content_type: str, file_name: str
) -> Response:
    return await file_answer(
        request,
        service.home.artifacts,
        digest=digest,
        size=size,
        content_type=content_type,
        file_name=file_name,
    )
