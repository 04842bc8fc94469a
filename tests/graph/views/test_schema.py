"""The JSON Schema of a graph's inputs agrees with what a run accepts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.errors import InputError
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.planning.inputs import resolve_inputs
from acestep_flows.graph.views.schema import DIALECT, input_schema
from tests.graph.toys import SONG

jsonschema = pytest.importorskip("jsonschema")

DECLARATIONS = [
    "{type: text, longest: 3}",
    "{type: text, choices: [a, b], default: a}",
    "{type: int, minimum: -2, maximum: 5}",
    "{type: float, minimum: 0.5, default: null}",
    "{type: bool}",
    "{type: seed}",
    "{type: seed, maximum: 9, default: random}",
    "{type: list of int, shortest: 1, longest: 2, maximum: 3}",
    "{type: list of list of text}",
    "{type: record, fields: {a: {type: int}, b: {type: text, default: x}}}",
    "{type: list of record, default: [], fields: {a: {type: seed, default: random}}}",
]


def graph(declaration: str) -> Graph:
    found = parse(f"graph: g\nversion: 1\ninputs: {{x: {declaration}}}\nnodes: {{}}\noutputs: {{o: $x}}\n")
    assert found.problems == ()
    return found


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10) | st.just(2**32) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("abx", max_size=4) | st.just("random"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(st.sampled_from(DECLARATIONS), st.dictionaries(st.sampled_from(["x", "x", "y"]), json_like, max_size=2))
def test_valid_is_accepted_and_invalid_refused(declaration: str, inputs: dict[str, Any]) -> None:
    found = graph(declaration)
    valid = jsonschema.Draft202012Validator(input_schema(found)).is_valid(inputs)
    try:
        resolve_inputs(found, inputs, lambda _: 0)
    except InputError:
        accepted = False
    else:
        accepted = True
    assert valid == accepted


@pytest.mark.parametrize("declaration", [*DECLARATIONS, "{type: span}", "{type: audio}", "{type: list of latents}"])
def test_it_is_a_schema(declaration: str) -> None:
    jsonschema.Draft202012Validator.check_schema(input_schema(graph(declaration)))


def test_spans_are_a_pair_or_a_map() -> None:
    validator = jsonschema.Draft202012Validator(input_schema(graph("{type: span}")))
    assert validator.is_valid({"x": [0, 1.5]})
    assert validator.is_valid({"x": {"start": 0, "end": 1.5}})
    assert not validator.is_valid({"x": [0]})
    assert not validator.is_valid({"x": [0, 1, 2]})
    assert not validator.is_valid({"x": {"start": 0}})


def test_what_a_form_needs_is_there() -> None:
    declaration = '{type: float, default: 30, minimum: 1, maximum: 240, unit: s, description: "How long."}'
    schema = input_schema(graph(declaration))
    assert schema["$schema"] == DIALECT
    found = schema["properties"]["x"]
    assert {
        key: found[key] for key in ("type", "default", "minimum", "maximum", "description", "x-unit", "x-type")
    } == {
        "type": "number",
        "default": 30,
        "minimum": 1,
        "maximum": 240,
        "description": "How long.",
        "x-unit": "s",
        "x-type": "float",
    }
    assert input_schema(parse(SONG))["required"] == ["tags"]
    assert input_schema(graph("{type: audio}"))["properties"]["x"] == {
        "type": "string",
        "format": "asset",
        "x-type": "audio",
    }
