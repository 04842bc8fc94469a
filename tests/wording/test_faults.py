"""Faults that pydantic finds, in our words: its own reach nobody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from acestep_flows.errors import InputError
from acestep_flows.graph.checking.rules.arguments import param_faults
from acestep_flows.graph.planning.literals import check_literals
from acestep_flows.graph.planning.plan import PlanNode
from acestep_flows.graph.planning.resolve import call_of
from acestep_flows.stages.registry import stages
from acestep_flows.wording.faults import Vocabulary, data_fault, fault_line

FOREIGN = re.compile(
    r"Input should|should be|should have|valid (string|integer|number|boolean|list|dictionary|tuple)|[Ff]ield required"
    r"|[Ee]xtra inputs|permitted|[Vv]alidation|Value error|greater than|less than or equal|unable to|\binstance\b"
    r"|\b(int|float|str|bool|dict|tuple|NoneType)\b|1 characters|1 elements|\.0\)"
)
"""Words of pydantic and Python, and wrong plurals."""

WRONG: list[Any] = [
    "ten", "", "x" * 20_000, "\ud800", True, -1, 0, 1.5, 1e9, -1e9, 2**70, float("nan"), float("inf"), None,
    [], {}, [1, "x"], [[1]], {"start": 3}, {"start": 5, "end": 2}, {"nonsense": 1}, b"bytes", object(),
]  # fmt: skip
"""Values of wrong types, below, above, and not among choices."""


def parameters() -> Iterator[tuple[str, str]]:
    """Every parameter of every stage."""
    for stage in stages().values():
        yield from ((stage.name, name) for name in stage.Params.model_fields)


@pytest.mark.parametrize(("stage_name", "name"), list(parameters()))
def test_every_parameter_of_every_stage_is_refused_in_words(stage_name: str, name: str) -> None:
    stage, refused = stages()[stage_name], 0
    for value in WRONG:
        for said in messages(stage_name, name, value):
            refused += 1
            own = re.sub(r"'(?:[^'\\]|\\.)*'", "", said)  # what the user wrote is not our wording
            assert not FOREIGN.search(own), said
            assert len(said) < 500
    assert refused, f"{stage.name}.{name} takes anything"


def messages(stage_name: str, name: str, value: Any) -> Iterator[str]:
    """What a graph check, planning and a run say of one parameter."""
    stage = stages()[stage_name]
    yield from (f"{key} {said}" for key, said in param_faults(stage, {name: value}).items())
    try:
        check_literals(stage, {name: value}, "n")
    except InputError as error:
        yield str(error)
    absent = dict.fromkeys(stage.inputs().keys() - stage.Params.model_fields.keys(), 0)
    node = PlanNode("n", stage.name, {**absent, name: value})
    try:
        call_of(node, stage, {}, {})
    except InputError as error:
        if name in str(error):
            yield str(error)


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rate: float = Field(gt=0)
    kind: Literal["a", "b"] = "a"


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, pattern="^[a-z]*$")
    steps: int = Field(10, ge=1, le=200)
    parts: list[Inner] = Field([], max_length=2)
    by_name: dict[str, Inner] = {}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({}, "name: missing"),
        ({"name": ""}, "name: empty (allowed: at least 1 character)"),
        ({"name": "A"}, "name: text 'A' (allowed: text of the form ^[a-z]*$)"),
        ({"name": 3}, "name: 3 (allowed: text)"),
        ({"name": "a", "steps": "ten"}, "steps: text 'ten' (allowed: a whole number)"),
        ({"name": "a", "steps": 1.5}, "steps: 1.5 (allowed: a whole number)"),
        ({"name": "a", "steps": 0}, "steps: 0 (allowed: at least 1)"),
        ({"name": "a", "steps": 201}, "steps: 201 (allowed: at most 200)"),
        ({"name": "a", "step": 1}, "step: no such field, nearest 'steps' (allowed: name, steps, parts, by_name)"),
        ({"name": "a", "parts": {}}, "parts: an empty map (allowed: a list)"),
        ({"name": "a", "parts": [3]}, "parts[0]: 3 (allowed: a map)"),
        ({"name": "a", "parts": [{"rate": 0}]}, "parts[0].rate: 0 (allowed: more than 0)"),
        ({"name": "a", "parts": [{"rate": 1, "kind": "c"}]}, "parts[0].kind: text 'c' (allowed: a, b)"),
        (
            {"name": "a", "parts": [{"rat": 1}]},
            "parts[0].rate: missing; parts[0].rat: no such field, nearest 'rate' (allowed: rate, kind)",
        ),
        (
            {"name": "a", "by_name": {"x": {"rat": 1, "rate": 1}}},
            "by_name.x.rat: no such field, nearest 'rate' (allowed: rate, kind)",
        ),
        ({"name": "a", "parts": [{"rate": 1}] * 3}, "parts: 3 elements (allowed: at most 2 elements)"),
    ],
)  # fmt: skip
def test_faults_of_data_are_told_in_words(content: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    assert fault_line(caught.value, Outer) == line


def test_a_vocabulary_says_the_same_fault_in_its_own_words() -> None:
    class Data(BaseModel):
        model_config = ConfigDict(extra="forbid")
        steps: int = Field(1, ge=1)
        mode: Literal["a", "b"] = "a"

    words = Vocabulary(
        types={"int": "an integer"},
        bounds={"greater_than_equal": "not below {ge}"},
        place=lambda loc: "/".join(map(str, loc)),
        shown=lambda kind, value: f"<{value}>",
        choices=str,
        unknown=lambda name, fields: (f"what is {name}?", "/".join(fields)),
    )
    with pytest.raises(ValidationError) as caught:
        Data.model_validate({"steps": 0, "mode": "c", "x": 1})
    faults = [data_fault(detail, Data, words) for detail in caught.value.errors()]
    assert [str(fault) for fault in faults] == [
        "steps: <0> (allowed: not below 1)",
        "mode: <c> (allowed: 'a' or 'b')",
        "x: what is x? (allowed: steps/mode)",
    ]
    with pytest.raises(ValidationError) as caught:
        Data.model_validate({"steps": "many"})
    assert data_fault(caught.value.errors()[0], Data, words).allowed == "an integer"
