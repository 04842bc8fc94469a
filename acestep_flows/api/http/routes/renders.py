"""The route that runs a graph and responds with the audio."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from acestep_flows.api.http.dependencies import Streams, TheBuilder, TheCaller, TheService
from acestep_flows.api.http.errors import ErrorResponse, error_response, status_of
from acestep_flows.api.http.json_body import JsonRoute
from acestep_flows.api.http.long_poll import wait_for_end
from acestep_flows.api.http.request_schemas import RenderRequest
from acestep_flows.api.http.response_schemas import Failure
from acestep_flows.api.http.routes.declarations import FILE, NO_GRAPH, NOT_ACCEPTED, GraphName, IdempotencyKey
from acestep_flows.api.http.routes.run_files import find_output, output_response
from acestep_flows.api.http.submission import accept_run
from acestep_flows.api.http.turns import TheTurn
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import OutputRecord, RunRecord
from acestep_flows.errors import DeadlineExceeded, FlowsError, InputError, NotFound, Overloaded
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.wording import unlike
from acestep_flows.wording.phrases import allowing

router = APIRouter(prefix="/v1", route_class=JsonRoute, tags=["runs"])

RESTART = 30.0
"""Retry-After in seconds while the server stops; a start takes 15 to 40 s."""


@router.post(
    "/graphs/{name}:render",
    response_class=Response,
    responses=NO_GRAPH
    | NOT_ACCEPTED
    | {
        200: FILE[200],
        504: {"model": Failure, "description": "The run takes longer. It continues; 'run' has its URL."},
    },
)
async def render(
    name: GraphName,
    body: RenderRequest,
    request: Request,
    service: TheService,
    caller: TheCaller,
    turn: TheTurn,
    builder: TheBuilder,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run a graph, wait for it, and respond with the audio."""
    streams: Streams = request.app.state.streams
    async with streams.hold(caller.owner):
        scope = await turn.do(lambda: service.scope(name))
        check_output(scope, body.output)
        record = await accept_run(service, caller, name, body.inputs, body, idempotency_key, turn)
        seconds = min(body.timeout, service.options.render_seconds)
        record = await wait_for_end(service, caller, record.id, seconds, request.is_disconnected)
    url = builder.run_url(record.id)
    run_link = {"run": {"id": record.id, "url": url}}
    if not record.state.ended:
        response: Response = error_response(_unfinished(service, record, seconds), extra=run_link)
    elif (fault := builder.fault(record.error)) is not None:
        response = ErrorResponse({"error": fault.model_dump(exclude={"problems"})} | run_link, status_of(fault.code))
    else:
        response = await output_response(request, service, select_output(record, body.output))
    response.headers.update({"Link": f'<{url}>; rel="monitor"', "X-Run-Id": record.id})
    return response


def _unfinished(service: Service, record: RunRecord, seconds: float) -> FlowsError:
    """Why the response comes before the run has ended."""
    if service.notifier.closed:
        return Overloaded(f"the server stops; run {record.id} goes on when it has started again", retry_after=RESTART)
    return DeadlineExceeded(f"run {record.id} takes longer than {seconds:g} s; it continues")


def check_output(scope: Scope, name: str | None) -> None:
    """Refuse an output that the graph does not have, before anything runs.

    Raises:
        InputError: the graph has no such output.
    """
    outputs = scope.graph.outputs.entries
    if name is not None and name.partition(".")[0] not in outputs:
        raise allowing(InputError(unlike("output", name, outputs), where="output"), outputs)


def select_output(record: RunRecord, name: str | None) -> OutputRecord:
    """The output called `name`; without a name the first audio, else the first output.

    Raises:
        NotFound: the run has no such output.
    """
    if name is not None:
        return find_output(record, name)
    audio = [output for output in record.outputs.values() if output.kind == "audio"]
    for output in (*audio, *record.outputs.values()):
        return output
    raise NotFound(f"run {record.id} has no outputs", field="output", allowed="none")
