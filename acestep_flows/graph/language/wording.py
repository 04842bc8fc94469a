"""Wording of messages: values and parts of graph files as a message shows them, and what stages accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.graph.language.document import Fields, Items, Scalar
from acestep_flows.stages.ports import PortType
from acestep_flows.wording import phrases
from acestep_flows.wording.phrases import between, brief, clip, counted, listing, nearest, no_such, unlike

__all__ = ["allowed_by", "between", "brief", "clip", "counted", "listing", "nearest", "no_such", "show", "unlike"]


def show(value: Any) -> str:
    """A value, or a part of a graph file, as a message shows it: `text 'fast'`, `3`, `a list of 2`, `null`."""
    if isinstance(value, Items):
        value = value.items
    elif isinstance(value, Fields):
        value = value.entries
    elif isinstance(value, Scalar):
        value = value.value
    return phrases.show(value)


def allowed_by(schema: Mapping[str, Any], kind: PortType) -> str:
    """What a stage parameter accepts, from its JSON Schema."""
    if "anyOf" in schema:
        parts = [part for part in schema["anyOf"] if part.get("type") != "null"]
        schema = parts[0] if len(parts) == 1 else {}
    if "enum" in schema:
        return listing(brief(choice) for choice in schema["enum"])
    if "const" in schema:
        return brief(schema["const"])
    low = schema.get("minimum")
    if "exclusiveMinimum" in schema:
        ceiling = f", at most {schema['maximum']:g}" if "maximum" in schema else ""
        return f"more than {schema['exclusiveMinimum']:g}{ceiling}"
    if "exclusiveMaximum" in schema:
        floor = f"at least {low}, " if low is not None else ""
        return f"{floor}less than {schema['exclusiveMaximum']}"
    for least, most, what in (("minLength", "maxLength", "character"), ("minItems", "maxItems", "element")):
        if least in schema or most in schema:
            return counted(between(schema.get(least), schema.get(most)), what)
    return between(low, schema.get("maximum")) or kind.words
