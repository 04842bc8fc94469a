"""Routes for graphs: list, show, draw, check, and dry runs."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter
from starlette.responses import Response

from acestep_flows.api.execution.accepted_run import snapshot
from acestep_flows.api.http.dependencies import Caller, TheBuilder, TheCaller, TheService, in_thread
from acestep_flows.api.http.json_body import JsonRoute
from acestep_flows.api.http.request_schemas import CheckRequest, PlanRequest
from acestep_flows.api.http.response_schemas import (
    CheckAnswer,
    GraphDetail,
    GraphEntry,
    GraphList,
    PlanAnswer,
    PlannedNode,
    Problem,
)
from acestep_flows.api.http.routes.declarations import NO_GRAPH, GraphName, binary
from acestep_flows.api.http.submission import parse_graph, plan_inputs, total_decoded_bytes
from acestep_flows.api.http.turns import TheTurn
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import NewRun
from acestep_flows.errors import GraphError, InputError, NotFound
from acestep_flows.graph.execution.forecast import Forecast, forecast
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.views.describe import describe
from acestep_flows.graph.views.draw import mermaid
from acestep_flows.graph.views.form import form_schema

router = APIRouter(prefix="/v1", route_class=JsonRoute, tags=["graphs"])


@router.get("/graphs")
async def list_graphs(service: TheService, caller: TheCaller, turn: TheTurn, builder: TheBuilder) -> GraphList:
    """All graphs that can be run by name."""

    def entries() -> list[GraphEntry]:
        graphs = service.library.graphs().items()
        return [
            GraphEntry(name=name, summary=graph.summary, url=builder.graph_url(name), ok=_is_sound(service, name))
            for name, graph in graphs
        ]

    return GraphList(graphs=await turn.do(entries))


@router.post("/graphs:check")
async def check_graph(request: CheckRequest, service: TheService, caller: TheCaller, turn: TheTurn) -> CheckAnswer:
    """Check a graph of your own without running it. Returns all of its problems."""
    try:
        scope = await turn.do(lambda: service.checked(parse_graph(service, request.graph)))
    except GraphError as error:
        problems = [
            Problem(
                rule=problem.rule,
                message=service.redact(problem.message),
                file=problem.file.rpartition("/")[2],
                line=problem.line,
                column=problem.column,
                node=problem.node or None,
            )
            for problem in error.problems
        ]
        return CheckAnswer(ok=False, problems=problems)
    return CheckAnswer(ok=True, problems=[], inputs=await in_thread(form_schema, scope))


@router.get("/graphs/{name}", responses=NO_GRAPH)
async def show_graph(name: GraphName, service: TheService, caller: TheCaller, builder: TheBuilder) -> GraphDetail:
    """A graph: the JSON Schema of its inputs, its outputs, its nodes and how they are connected."""
    return await in_thread(lambda: _detail(service, name, builder.graph_url(name)))


@router.get(
    "/graphs/{name}/picture.png",
    response_class=Response,
    responses=NO_GRAPH | {200: {**binary("image/png"), "description": "The picture."}},
)
async def draw_graph(name: GraphName, service: TheService, caller: TheCaller) -> Response:
    """A drawing of a graph."""
    return Response(await in_thread(service.picture, name), media_type="image/png")


@router.post("/graphs/{name}/plan", response_model=PlanAnswer, responses=NO_GRAPH)
async def plan_graph(
    name: GraphName, request: PlanRequest, service: TheService, caller: TheCaller, turn: TheTurn
) -> Response:
    """A dry run: the nodes that would run, which of them are cached, and the seconds that the others took before.

    On a server with several keys, what a caller learns is of its own runs alone, and nothing counts as cached.
    """
    plan, new = await turn.do(lambda: plan_inputs(service, caller, service.scope(name), request.inputs))
    if service.scheduler is None or not new.assets:
        return await _forecast(service, caller, plan, new)
    size = await in_thread(total_decoded_bytes, service, new.assets)
    async with service.decode_budget.reserve(size):
        # Plan again with the same seeds and the real values, because cache keys depend on their content.
        read = partial(service.home.assets.value, owner=caller.visible_owner)
        most = service.options.nodes
        plan, new = await turn.do(lambda: snapshot(service.scope(name), new.inputs, read, most_nodes=most))
        return await _forecast(service, caller, plan, new)


async def _forecast(service: Service, caller: Caller, plan: Plan, new: NewRun) -> Response:
    outcome = alone = None
    if service.scheduler is not None:
        alone = await in_thread(service.timings_of, caller.owner) if service.keys.are_several else None
        outcome = await forecast(plan, service.scheduler, alone)
    content = await in_thread(lambda: _plan_answer(service, plan, new, outcome, alone is None).model_dump_json())
    return Response(content, media_type="application/json")


def _plan_answer(service: Service, plan: Plan, new: NewRun, outcome: Forecast | None, tell_bytes: bool) -> PlanAnswer:
    answer = PlanAnswer(
        graph=plan.graph,
        digest=plan.digest,
        inputs=dict(new.inputs),
        nodes=[PlannedNode(id=node.id, stage=node.stage) for node in plan.nodes.values()],
        warnings=list(plan.warnings),
    )
    if outcome is None:
        return answer
    answer.nodes = [
        PlannedNode(
            id=node.id,
            stage=node.stage,
            fate=node.fate,
            seconds=node.seconds,
            bytes=node.nbytes if tell_bytes else None,
            problem=service.redact(node.problem) or None,
        )
        for node in outcome.nodes
    ]
    answer.seconds = outcome.seconds if outcome.complete else None
    answer.peak_bytes = outcome.peak
    return answer


def _is_sound(service: Service, name: str) -> bool:
    """Whether a graph can be run. Its file may be broken, or gone by now."""
    try:
        service.scope(name)
    except (GraphError, InputError, NotFound):
        return False
    return True


def _detail(service: Service, name: str, url: str) -> GraphDetail:
    scope = service.scope(name)
    graph = scope.graph
    return GraphDetail(
        name=name,
        summary=graph.summary,
        url=url,
        ok=True,
        inputs=form_schema(scope),
        digest=scope.digest,
        outputs={
            output: str(scope.type_of(argument) or "unknown") for output, argument in graph.outputs.entries.items()
        },
        nodes={node.name: node.target for node in graph.nodes.values()},
        description=describe(graph, service.registry, service.library.nested),
        mermaid=mermaid(graph),
        picture=f"{url}/picture.png",
    )
