"""Routes for what a form offers: the model, adapters, control branches, presets and examples."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from acestep_flows.api.http.catalog_schemas import (
    AdapterList,
    Catalog,
    CatalogEntry,
    ControlList,
    ExampleList,
    ModelDescription,
    PresetList,
)
from acestep_flows.api.http.dependencies import TheBuilder, TheCaller, TheService, in_thread
from acestep_flows.api.http.routes.declarations import NO_GRAPH
from acestep_flows.api.http.routes.graphs import list_graphs, show_graph
from acestep_flows.api.http.starting_points import EXAMPLES, PRESETS
from acestep_flows.api.http.turns import TheTurn

router = APIRouter(prefix="/v1", tags=["model"])

Shown = Annotated[
    str | None, Query(max_length=200, description="A graph to show whole, as its URL does.", examples=["text2music"])
]


@router.get("/catalog", responses=NO_GRAPH)
async def show_catalog(
    service: TheService, caller: TheCaller, turn: TheTurn, builder: TheBuilder, graph: Shown = None
) -> Catalog:
    """All that a form offers, in one answer: the model, graphs, adapters, control branches, presets and examples."""
    return Catalog(
        caller=caller.key.name if caller.key is not None else None,
        model=await show_model(service, caller),
        graphs=(await list_graphs(service, caller, turn, builder)).graphs,
        graph=None if graph is None else await show_graph(graph, service, caller, builder),
        adapters=(await list_adapters(service, caller)).adapters,
        controls=(await list_controls(service, caller)).controls,
        presets=list(PRESETS),
        examples=list(EXAMPLES),
    )


@router.get("/model")
async def show_model(service: TheService, caller: TheCaller) -> ModelDescription:
    """The model of this server: its name, notes, and its own values of the sampling options."""
    card = await in_thread(service.model_card)
    return ModelDescription(name=card.name, notes=list(card.notes), sampling=dict(card.sampling))


@router.get("/adapters")
async def list_adapters(service: TheService, caller: TheCaller) -> AdapterList:
    """The adapters that are installed."""
    card = await in_thread(service.model_card)
    return AdapterList(adapters=[CatalogEntry(name=name) for name in card.adapters])


@router.get("/controls")
async def list_controls(service: TheService, caller: TheCaller) -> ControlList:
    """The control branches that are installed."""
    card = await in_thread(service.model_card)
    return ControlList(controls=[CatalogEntry(name=name) for name in card.controls])


@router.get("/presets")
async def list_presets(caller: TheCaller) -> PresetList:
    """Tags to begin with."""
    return PresetList(presets=list(PRESETS))


@router.get("/examples")
async def list_examples(caller: TheCaller) -> ExampleList:
    """Songs to begin with."""
    return ExampleList(examples=list(EXAMPLES))
