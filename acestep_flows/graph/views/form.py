"""The JSON Schema of a graph's inputs with what a page needs to make a form of it, without knowledge of any graph.

To `views.schema` it adds, on every input, on the fields of records and on the items of lists:

- `title`: its name for people;
- `x-kind`: what to show: text, int, float, bool, seed, span, list, record, music, or a kind of value (audio, latents);
- `x-nullable`: whether null may be given. The schema is then the first of `anyOf`;
- `x-step`: a step for the arrows of a number. Values in between are taken, too;
- `x-group`: `common`, or `advanced` for inputs that few need;
- `x-feeds`: the parameters of stages that get the value, such as `tags`, `lyrics` or `adapter`;
- `x-default-if-null`: what a null means, where the graph knows it. What the model takes is in `/v1/model`.

Numbers have the bounds of the stage parameters that they feed.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from acestep_flows.graph.checking.feeds import FedParameter, as_fed, feeds
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.views.schema import input_schema
from acestep_flows.stages.ports import PortType

COARSEST = 0.1
"""Largest step of a number that is not whole."""

STEPS_OF_RANGE = 100
UNIT_STEPS = {"s": 0.1, "dB": 0.5, "LUFS": 0.5}
"""Steps of numbers without bounds, by what they count."""


def form_schema(scope: Scope) -> dict[str, Any]:
    """The schema of the inputs of a checked graph, for a form."""
    fed: dict[str, list[FedParameter]] = {}
    for feed in feeds(scope):
        fed.setdefault(feed.input, []).append(feed)
    whole = {name: as_fed(declared, fed.get(name, [])) for name, declared in scope.graph.inputs.items()}
    bounded = {name: replace(whole[name], default=own.default) for name, own in scope.graph.inputs.items()}
    schema = input_schema(scope.graph, bounded)
    for name, declared in bounded.items():
        part = schema["properties"][name]
        _add_hints(part, declared)
        part["x-group"] = "advanced" if declared.advanced else "common"
        if parameters := sorted({feed.param for feed in fed.get(name, [])}):
            part["x-feeds"] = parameters
        if declared.default is None and whole[name].default is not None:
            part["x-default-if-null"] = whole[name].default
    return schema


def _add_hints(part: dict[str, Any], declared: Declaration) -> None:
    """Add what a form needs to the schema of an input or of a field."""
    part["title"] = title(declared.name)
    part["x-nullable"] = declared.type.optional
    _add_kind(part, declared.type, declared)
    value = part["anyOf"][0] if declared.type.optional else part
    _add_to_parts(value, declared.type, declared)


def _add_kind(part: dict[str, Any], kind: PortType, declared: Declaration) -> None:
    part["x-kind"] = kind.kind
    if kind.kind == "span":
        part.setdefault("x-unit", "s")
    if (size := step(kind.kind, declared)) is not None:
        part["x-step"] = size


def _add_to_parts(value: dict[str, Any], kind: PortType, declared: Declaration) -> None:
    """The same for the items of a list and the fields of a record."""
    if kind.kind == "record":
        for name, field in declared.fields.items():
            _add_hints(value["properties"][name], field)
    elif kind.item is not None:
        _add_kind(value["items"], kind.item, declared)
        _add_to_parts(value["items"], kind.item, declared)


def title(name: str) -> str:
    """A name for people: `guidance_scale` is `Guidance scale`."""
    words = name.replace("_", " ").replace("-", " ")
    return words[:1].upper() + words[1:]


def step(kind: str, declared: Declaration) -> float | None:
    """A step for a number, of which there are about a hundred in its range; None for what is no number."""
    if kind == "int":
        return 1
    if kind != "float":
        return None
    low, high = declared.minimum, declared.maximum
    if low is None or high is None or high <= low:
        return UNIT_STEPS.get(declared.unit)
    return min(COARSEST, 10.0 ** math.floor(math.log10((high - low) / STEPS_OF_RANGE)))
