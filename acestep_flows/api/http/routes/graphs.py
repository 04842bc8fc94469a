"""Graphs: list, look at, check, and try without running."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.responses import Response

from acestep_flows.api.execution.accepted_run import StandIn, snapshot
from acestep_flows.api.http.dependencies import Caller, TheAnswers, TheCaller, TheService, in_thread
from acestep_flows.api.http.schemas import (
    CheckAnswer,
    CheckRequest,
    Failure,
    GraphDetail,
    GraphEntry,
    GraphList,
    PlanAnswer,
    PlannedNode,
    PlanRequest,
    Problem,
)
from acestep_flows.api.service import Service
from acestep_flows.api.store.assets import decoded_bytes
from acestep_flows.api.store.records import NewRun
from acestep_flows.errors import GraphError, InputError
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.execution.forecast import forecast
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.views.describe import describe
from acestep_flows.graph.views.draw import mermaid
from acestep_flows.graph.views.schema import input_schema
from acestep_flows.values import canonical_json

router = APIRouter(prefix="/v1", tags=["graphs"])

GraphName = Annotated[str, Path(max_length=200, description="A graph's name.", examples=["text2music"])]
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "There is no such graph."}}


@router.get("/graphs")
async def list_graphs(service: TheService, caller: TheCaller, answers: TheAnswers) -> GraphList:
    """Every graph that can be run by name."""
    graphs = await in_thread(lambda: {name: service.graph(name) for name in service.library.names()})
    entries = [GraphEntry(name=n, summary=graph.summary, url=answers.graph_url(n)) for n, graph in graphs.items()]
    return GraphList(graphs=entries)


@router.post("/graphs:check")
async def check_graph(request: CheckRequest, service: TheService, caller: TheCaller) -> CheckAnswer:
    """Every problem of a graph of your own, which is not run."""
    try:
        scope = await in_thread(lambda: service.checked(own_graph(request.graph)))
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
    return CheckAnswer(ok=True, problems=[], inputs=input_schema(scope.graph))


@router.get("/graphs/{name}", responses=NOT_FOUND)
async def show_graph(name: GraphName, service: TheService, caller: TheCaller, answers: TheAnswers) -> GraphDetail:
    """A graph: the JSON Schema of its inputs, what it gives, how it is wired."""
    return await in_thread(lambda: _detail(service, name, answers.graph_url(name)))


@router.get(
    "/graphs/{name}/picture.png",
    response_class=Response,
    responses=NOT_FOUND | {200: {"content": {"image/png": {}}, "description": "The picture."}},
)
async def draw_graph(name: GraphName, service: TheService, caller: TheCaller) -> Response:
    """A graph as a picture."""
    return Response(await in_thread(service.picture, name), media_type="image/png")


@router.post("/graphs/{name}/plan", responses=NOT_FOUND)
async def plan_graph(name: GraphName, request: PlanRequest, service: TheService, caller: TheCaller) -> PlanAnswer:
    """A dry run: the nodes that would run, which are cached, and how long the others took before."""
    plan, new = await in_thread(lambda: planned_for(service, caller, service.scope(name), request.inputs))
    if service.scheduler is None or not new.assets:
        return await _foretold(service, plan, new)
    size = await in_thread(decoded_sum, service, new.assets)
    async with service.decoding.room(size):
        # With the seeds that were drawn, and now with the values: what is cached goes by what is in them.
        read = partial(service.home.assets.value, owner=caller.sees)
        plan, new = await in_thread(lambda: snapshot(service.scope(name), new.inputs, read))
        return await _foretold(service, plan, new)


async def _foretold(service: Service, plan: Plan, new: NewRun) -> PlanAnswer:
    answer = PlanAnswer(
        graph=plan.graph,
        digest=plan.digest,
        inputs=dict(new.inputs),
        nodes=[PlannedNode(id=node.id, stage=node.stage) for node in plan.nodes.values()],
        warnings=list(plan.warnings),
    )
    if service.scheduler is None:
        return answer
    told = await forecast(plan, service.scheduler)
    answer.nodes = [
        PlannedNode(
            id=node.id,
            stage=node.stage,
            fate=node.fate,
            seconds=node.seconds,
            bytes=node.nbytes,
            problem=service.redact(node.problem) or None,
        )
        for node in told.nodes
    ]
    answer.seconds = told.seconds if told.complete else None
    answer.peak_bytes = told.peak
    return answer


def own_graph(content: str | dict[str, Any]) -> Graph:
    """A graph that came with a request: YAML text, or JSON, which is YAML too."""
    return parse(content if isinstance(content, str) else canonical_json(content), "graph")


def planned_for(service: Service, caller: Caller, scope: Scope, inputs: dict[str, Any]) -> tuple[Plan, NewRun]:
    """A plan for what a caller may read, and the run it would be. Blocks, but reads no asset: they are large.

    Raises:
        InputError: an input is not what the graph wants, or all of them are too large once decoded.
        NotFound: an asset does not exist, or is another's.
    """

    def stand_in(id: str, kind: str, where: str) -> StandIn:
        service.home.assets.of_kind(id, kind, where, caller.sees)
        return StandIn(kind)

    plan, new = snapshot(scope, inputs, stand_in)
    if (size := decoded_sum(service, new.assets)) > (most := service.options.input_decoded_bytes):
        raise InputError(
            f"assets of {size >> 20} MB together, once decoded", where="inputs", allowed=f"up to {most >> 20} MB"
        )
    return plan, new


def decoded_sum(service: Service, assets: Iterable[str]) -> int:
    """Bytes of memory that the values in some assets take together."""
    return sum(decoded_bytes(service.home.assets.get(asset)) for asset in set(assets))


def _detail(service: Service, name: str, url: str) -> GraphDetail:
    scope = service.scope(name)
    graph = scope.graph
    return GraphDetail(
        name=name,
        summary=graph.summary,
        url=url,
        inputs=input_schema(graph),
        outputs={
            output: str(scope.type_of(argument) or "unknown") for output, argument in graph.outputs.entries.items()
        },
        nodes={node.name: node.target for node in graph.nodes.values()},
        description=describe(graph, service.registry, service.library.nested),
        mermaid=mermaid(graph),
        picture=f"{url}/picture.png",
    )
