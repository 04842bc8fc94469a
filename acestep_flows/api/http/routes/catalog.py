"""Routes for what a form offers: the model, adapters, control branches, presets and examples."""

from __future__ import annotations

from fastapi import APIRouter

from acestep_flows.api.http.catalog_schemas import (
    AdapterList,
    CatalogEntry,
    ControlList,
    ExampleList,
    ModelDescription,
    PresetList,
)
from acestep_flows.api.http.dependencies import TheCaller, TheService, in_thread
from acestep_flows.api.http.starting_points import EXAMPLES, PRESETS

router = APIRouter(prefix="/v1", tags=["model"])


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
