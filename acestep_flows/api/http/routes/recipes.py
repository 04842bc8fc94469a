"""The route that reads recipes: what a song was made from, so that a client can fill in a form or submit it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from acestep_flows.api.http.dependencies import Caller, TheCaller, TheService
from acestep_flows.api.http.response_schemas import Failure, MissingAsset, RecipeAnswer
from acestep_flows.api.http.routes.declarations import BINARY
from acestep_flows.api.http.schema_base import check_json
from acestep_flows.api.http.turns import TheTurn
from acestep_flows.api.http.uploads import receive_upload
from acestep_flows.api.service import Service
from acestep_flows.errors import InputError, NotFound
from acestep_flows.graph.pauses import pause
from acestep_flows.graph.planning.layout import digest
from acestep_flows.recipes.carry_over import carry_over
from acestep_flows.recipes.read import ALLOWED, read_recipe_alone
from acestep_flows.recipes.stored_recipe import FileInput, StoredRecipe
from acestep_flows.values import Span

router = APIRouter(prefix="/v1", tags=["recipes"])

PATH = "/v1/recipes:read"
MOST_ASSETS = 1000
"""Files of one recipe that are looked for among the caller's assets; the others count as missing."""


@router.post(
    "/recipes:read",
    responses={
        413: {"model": Failure, "description": "The file is too large."},
        422: {"model": Failure, "description": "The file is neither JSON nor audio, or has no recipe."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A recipe of this server or of the command line, the *_input_params.json of ACE-Step v1, or "
            "an audio file with a recipe in its tags. The file itself is the body, JSON too, of whatever Content-Type; "
            "what it is, is detected.",
            "content": {"application/octet-stream": BINARY},
        }
    },
)
async def read_recipe(request: Request, service: TheService, caller: TheCaller, turn: TheTurn) -> RecipeAnswer:
    """Read a recipe: the graph and inputs that a song was made with, as `POST /v1/runs` takes them. Stores nothing."""
    artifacts, most = service.home.artifacts, service.options.upload_bytes
    async with receive_upload(request.stream(), artifacts, most, allowed=ALLOWED) as upload:

        def read() -> RecipeAnswer:
            with upload.as_path() as path:
                return _answer(service, caller, _read(path))

        return await turn.do(read)


def _read(path: Path) -> StoredRecipe:
    try:
        return read_recipe_alone(path, "body", check_json)
    except InputError as error:  # clients must not see the path
        where = error.where.replace(str(path), "body")
        raise InputError(error.what.replace(str(path), "body"), where=where, allowed=error.allowed) from None


def _answer(service: Service, caller: Caller, recipe: StoredRecipe) -> RecipeAnswer:
    """The recipe for a client: inputs that this server's graph takes, its own assets, and what is missing."""
    warnings: list[str] = list(recipe.warnings)
    inputs: Mapping[str, Any] = {name: value for name, value in recipe.inputs.items() if value is not None}
    try:
        scope = service.scope(recipe.graph)
    except NotFound:
        warnings.append(f"this server has no graph {recipe.graph[:200]!r}")
    else:
        carried = carry_over(recipe, scope.graph, (), again=True)
        inputs = carried.inputs
        warnings = carried.lines(recipe)
        if recipe.digest not in ("", digest(scope)):
            warnings.append(f"the graph {recipe.graph} of this server is not the one the recipe was made by")
    assets = _Assets(service, caller)
    content = {name: assets.as_json(value, name) for name, value in inputs.items()}
    incomplete = {missing.input.partition("[")[0].partition(".")[0] for missing in assets.missing}
    return RecipeAnswer(
        graph=recipe.graph,
        inputs={name: value for name, value in content.items() if name not in incomplete},
        seeds=dict(recipe.seeds),
        missing=assets.missing,
        warnings=[service.redact(warning) for warning in warnings],
    )


class _Assets:
    """Puts the caller's assets in the place of files, and collects those that the caller has not."""

    def __init__(self, service: Service, caller: Caller) -> None:
        self._service, self._caller = service, caller
        self.missing: list[MissingAsset] = []
        self._looked_up: dict[tuple[str, str], str | None] = {}

    def as_json(self, content: Any, name: str) -> Any:
        """An input as `POST /v1/runs` takes it."""
        if isinstance(content, Span):
            return {"start": content.start, "end": content.end}
        if isinstance(content, FileInput):
            return self._asset(content, name)
        if isinstance(content, Mapping):
            return {key: self.as_json(part, f"{name}.{key}") for key, part in content.items()}
        if isinstance(content, list):
            return [self.as_json(part, f"{name}[{i}]") for i, part in enumerate(content)]
        return content

    def _look_up(self, id: str, kind: str) -> str | None:
        pause()
        try:
            return self._service.home.assets.of_kind(id, kind, owner=self._caller.visible_owner).id
        except (NotFound, InputError):
            return None

    def _asset(self, wanted: FileInput, name: str) -> str | None:
        for path in wanted.paths:  # the recipes of a server name assets where others name paths
            key = (path.removeprefix("asset:"), wanted.kind)
            if key not in self._looked_up:
                self._looked_up[key] = self._look_up(*key) if len(self._looked_up) < MOST_ASSETS else None
            if (id := self._looked_up[key]) is not None:
                return id
        missing = MissingAsset(input=name, kind=wanted.kind, digest=wanted.digest or None, file_name=wanted.name)
        self.missing.append(missing)
        return None
