"""The JSON Schema (2020-12) of a graph's inputs, from which the HTTP interface and the web form are made.

Values that JSON cannot hold are named by text: over HTTP, the id of an uploaded asset. `x-type` names the type
in the graph language (`music` takes an asset with audio or one with latents), `x-unit` the unit. `x-advanced` marks
inputs that few need, `x-similar` lists words that people may take for a name, `x-at-most` names the input that a number
must not be above, `x-lengthens` the music that seconds are added to, and `x-within` the music in which a span lies; the
span's end may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.language.types import MAX_ELEMENTS, RANDOM, Declaration
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MAX_SEED

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SECONDS = {"type": "number", "minimum": 0, "maximum": 1e9}


def input_schema(graph: Graph, declared: Mapping[str, Declaration] | None = None) -> dict[str, Any]:
    """The schema of a run's inputs.

    Args:
        declared: inputs in place of the graph's own, with narrower bounds.
    """
    inputs = graph.inputs if declared is None else declared
    return {"$schema": DIALECT, "title": graph.name, "description": graph.summary, **_object(inputs)}


def _object(declarations: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _declared(declared) for name, declared in declarations.items()},
        "required": [name for name, declared in declarations.items() if declared.required],
        "additionalProperties": False,
    }


def _declared(declared: Declaration) -> dict[str, Any]:
    schema = _typed(declared.type, declared)
    if declared.type.kind in ("text", "list"):
        least, most = ("minLength", "maxLength") if declared.type.kind == "text" else ("minItems", "maxItems")
        schema |= _present({least: declared.shortest, most: declared.longest})
    if declared.type.optional:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if not declared.required:
        schema["default"] = declared.default
    schema |= _present({"description": declared.description or None, "x-unit": declared.unit or None})
    if declared.advanced:
        schema["x-advanced"] = True
    schema |= _present({"x-within": declared.within or None, "x-at-most": declared.at_most or None})
    schema |= _present({"x-lengthens": declared.lengthens or None, "x-similar": list(declared.similar) or None})
    return schema | {"x-type": str(PortType(declared.type.kind, declared.type.item))}


def _typed(kind: PortType, declared: Declaration) -> dict[str, Any]:
    if kind.kind == "list":
        assert kind.item is not None
        return {"type": "array", "items": _typed(kind.item, declared), "maxItems": MAX_ELEMENTS}
    if kind.kind == "record":
        return _object(declared.fields)
    if kind.kind == "span":
        return {"oneOf": _spans(open_end=bool(declared.within))}
    low = _present({"minimum": declared.minimum, "maximum": declared.maximum})
    choices = {"enum": list(declared.choices)} if declared.choices else {}
    if kind.kind == "seed":
        whole = {"type": "integer", "minimum": 0, "maximum": MAX_SEED} | low | choices
        return {"anyOf": [{"const": RANDOM}, whole]}
    scalars: dict[str, dict[str, Any]] = {
        "text": {"type": "string"} | choices,
        "int": {"type": "integer"} | low | choices,
        "float": {"type": "number"} | low | choices,
        "bool": {"type": "boolean"},
        "any": {},
    }
    return scalars.get(kind.kind, {"type": "string", "format": "asset"})


def _spans(open_end: bool) -> list[dict[str, Any]]:
    """The two forms of a span."""
    end = {"anyOf": [_SECONDS, {"type": "null"}]} if open_end else _SECONDS
    return [
        {"type": "array", "prefixItems": [_SECONDS, end], "items": False, "minItems": 2},
        {
            "type": "object",
            "properties": {"start": _SECONDS, "end": end},
            "required": ["start"] if open_end else ["start", "end"],
            "additionalProperties": False,
        },
    ]


def _present(entries: dict[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in entries.items() if entry is not None}
