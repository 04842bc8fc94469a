"""The models of this server under the names that Replicate has for them, and our graphs as models of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import RunRecord
from acestep_flows.compat.exchange import Exchange
from acestep_flows.compat.fields import Draft, FieldRow, translate
from acestep_flows.compat.replicate import tables
from acestep_flows.compat.takes import seeds_of
from acestep_flows.errors import NotFound
from acestep_flows.graph.language.types import record_type
from acestep_flows.graph.views.schema import input_schema

OWNER = "acestep_flows"
"""Of models that are our graphs."""

LABEL = "replicate"
"""The label of a run that names its model."""


def _no_change(draft: Draft) -> None:
    """The inputs are those of the graph already."""


@dataclass(frozen=True)
class ServedModel:
    """A model that predictions name.

    Attributes:
        name: `OWNER/NAME`.
        version: the one version that it has.
        table: its inputs; empty for a graph, whose inputs are its own.
        settle: joins what several inputs say together.
        many: whether its output is a list.
        pinned: whether clients know the version; of others they may name any.
    """

    name: str
    version: str
    table: Sequence[FieldRow] = ()
    settle: Callable[[Draft], None] = _no_change
    many: bool = False
    pinned: bool = True

    @property
    def graph(self) -> str:
        """The name of the graph; empty for a model with a table."""
        return "" if self.table else self.name.partition("/")[2]

    async def draft(self, exchange: Exchange, fields: Mapping[str, Any]) -> Draft:
        """The song that some inputs ask for.

        Raises:
            InputError: inputs are missing, not usable or not known.
        """
        draft = await exchange.draft(self.graph or "text2music", strict=True)
        draft.labels[LABEL] = self.name
        if not self.table:
            draft.inputs.update(await _with_assets(exchange, self.graph, fields))
            return draft
        read_inputs(self, fields, draft)
        if (audio := draft.inputs.get("reference")) is not None:
            draft.inputs["reference"] = await exchange.audio(audio, draft.fields["reference"])
        return draft

    def inputs(self, record: RunRecord, address: str) -> dict[str, Any]:
        """The inputs of a run under this model's names, as they were resolved: with the seed that was drawn."""
        found = {name: _linked(value, address) for name, value in record.inputs.items()}
        if not self.table:
            return found
        if seeds := seeds_of(record):
            found["seed"] = seeds[0]
        named = {row.name: found.get(row.becomes) for row in self.table if isinstance(row.becomes, str)}
        return {name: value for name, value in named.items() if value is not None}

    def schema(self, service: Service) -> dict[str, Any]:
        """Its OpenAPI document, of which clients read the form of the output. Blocks."""
        if self.table:
            properties = {row.name: {"title": row.name, "x-order": at} for at, row in enumerate(self.table)}
            required = [row.name for row in self.table if row.required]
            inputs: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
        else:
            inputs = input_schema(service.scope(self.graph).graph)
        uri = {"type": "string", "format": "uri"}
        output = {"type": "array", "items": uri} if self.many else uri
        return {
            "openapi": "3.0.2",
            "info": {"title": self.name, "version": self.version},
            "paths": {},
            "components": {"schemas": {"Input": inputs, "Output": {"title": "Output", **output}}},
        }


def read_inputs(model: ServedModel, fields: Mapping[str, Any], draft: Draft) -> Draft:
    """Read the inputs of a model with a table into a draft. Audio is still what the client sent.

    Raises:
        InputError: inputs are missing, not usable or not known.
    """
    draft.strict, draft.format = True, "wav"
    translate(model.table, fields, draft)
    model.settle(draft)
    return draft


def _version(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


_VERSION = "280fc4f9ee507577f880a167f639c02622421d8fecf492454320311217b688f1"
_NATIVE, _FISH = "andreasjansson/ace-step", "fishaudio/ace-step-1.5"

MODELS: Mapping[str, ServedModel] = {
    model.name: model
    for model in (
        ServedModel("lucataco/ace-step", _VERSION, tables.LUCATACO, tables.settle_lucataco),
        ServedModel(_NATIVE, _version(_NATIVE), tables.NATIVE, tables.settle_native, pinned=False),
        ServedModel(_FISH, _version(_FISH), tables.FISHAUDIO, tables.settle_fishaudio, many=True, pinned=False),
    )
}


def find(service: Service, name: str, version: str = "") -> ServedModel:
    """A model by its name, and by a version if there is one. Blocks.

    Raises:
        NotFound: there is no such model or version.
    """
    model = MODELS.get(name)
    if model is None and name.startswith(f"{OWNER}/"):
        model = ServedModel(name, service.scope(name.partition("/")[2], "version").digest)
    if model is None:
        known = ", ".join((*MODELS, f"{OWNER}/GRAPH"))
        raise NotFound(f"no model {name[:100]!r} here; there are {known}", field="version", allowed=known)
    if version not in ("", model.version) and model.pinned:
        raise NotFound(f"{name} has no version {version[:80]!r} here", field="version", allowed=model.version)
    return model


def find_version(service: Service, text: str) -> ServedModel:
    """A model by `OWNER/NAME:VERSION`, `OWNER/NAME` or the version alone. Blocks.

    Raises:
        NotFound: there is none.
    """
    name, _, version = text.partition(":")
    if "/" in name:
        return find(service, name, version)
    for model in MODELS.values():
        if model.version == text:
            return model
    for graph in service.library.graphs():
        if service.scope(graph).digest == text:
            return ServedModel(f"{OWNER}/{graph}", text)
    known = ", ".join(f"{model.name}:{model.version[:8]}..." for model in MODELS.values())
    raise NotFound(f"no version {text[:100]!r} here; there are {known}", field="version", allowed=known)


def model_of(record: RunRecord) -> ServedModel:
    """The model of a run; of one that another interface made, its graph."""
    return MODELS.get(record.labels.get(LABEL, "")) or ServedModel(f"{OWNER}/{record.graph}", record.digest)


async def _with_assets(exchange: Exchange, graph: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a graph, with files that are named in any way as assets."""
    scope = await in_thread(exchange.service.scope, graph, "version")
    types = record_type(scope.graph.inputs)
    assets = {
        where: await exchange.audio(value, where)
        for value, kind, where in types.leaves(dict(fields))
        if kind.is_file and isinstance(value, str)
    }
    inputs: dict[str, Any] = types.map(dict(fields), lambda leaf, kind, where: assets.get(where, leaf))
    return inputs


def _linked(content: Any, address: str) -> Any:
    """An input with addresses in place of assets."""
    if isinstance(content, Mapping):
        if set(content) == {"asset"}:
            return f"{address}/v1/files/{content['asset']}"
        return {name: _linked(part, address) for name, part in content.items()}
    return [_linked(part, address) for part in content] if isinstance(content, (list, tuple)) else content
