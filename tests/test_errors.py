"""Errors say what, where and what is allowed, and cross processes whole."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest

from acestep_flows import errors
from acestep_flows.errors import (
    MOST_LISTED,
    Cancelled,
    CheckpointError,
    FlowsError,
    GraphError,
    InputError,
    NotFound,
    Overloaded,
    Problem,
    StageError,
    TimedOut,
    node_of,
)
from acestep_flows.graph.execution.node_error import at_node
from acestep_flows.graph.planning.plan import PlanNode

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, FlowsError)]


def test_what_where_and_what_is_allowed() -> None:
    assert str(InputError("0 s", where="duration", allowed="0.1 to 240")) == "duration: 0 s (allowed: 0.1 to 240)"
    assert str(InputError("empty")) == "empty"


def test_all_names_are_allowed_and_a_message_shows_the_first() -> None:
    names = [f"name{number}" for number in range(MOST_LISTED + 3)]
    error = InputError("no such graph", where="graph", allowed=names)
    assert error.allowed == ", ".join(names)
    assert str(error) == f"graph: no such graph (allowed: {', '.join(names[:MOST_LISTED])}, and 3 more)"
    assert NotFound("no such graph", allowed=iter(names)).allowed == error.allowed
    assert InputError.of_several([error, InputError("empty")]).allowed == error.allowed
    assert pickle.loads(pickle.dumps(error)).allowed == error.allowed
    assert InputError("x", allowed=[]).allowed == "none"
    assert InputError("x").allowed == ""


def test_no_error_is_given_a_list_that_is_cut() -> None:
    package = Path(errors.__file__).parent
    cut = [path.name for path in package.rglob("*.py") if re.search(r"allowed=\(?listing\(", path.read_text())]
    assert cut == []


def test_a_problem_says_where_it_stands() -> None:
    problem = Problem("port", "no port x", file="a.yaml", line=3, column=7, node="song")
    assert str(problem) == "a.yaml:3:7: node song: no port x"
    assert str(Problem("port", "no port x")) == "no port x"
    assert str(GraphError([problem, Problem("name", "bad")])) == "a.yaml:3:7: node song: no port x\nbad"


def test_a_stage_error_names_node_stage_and_cause() -> None:
    cause = ValueError("bad")
    assert str(StageError("take", "sample", cause)) == "node take (sample): ValueError: bad"
    assert str(StageError("", "sample", cause)) == "sample: ValueError: bad"


@pytest.mark.parametrize(
    "error",
    [
        InputError("0 s", where="duration", allowed="more"),
        CheckpointError("truncated", where="model.safetensors"),
        GraphError([Problem("name", "bad", file="a.yaml", line=1)]),
        StageError("take", "sample", ValueError("bad")),
        Overloaded("full", retry_after=3.0),
        Cancelled("stopped"),
        TimedOut("run r is running after 3 s"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_processes_whole(error: FlowsError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    kept = {name: value for name, value in vars(error).items() if not isinstance(value, Exception)}
    assert {name: vars(again)[name] for name in kept} == kept


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_a_code_and_a_status(kind: type[FlowsError]) -> None:
    assert kind.code.replace("_", "").isalpha()
    assert 400 <= kind.status < 600


def test_a_fault_in_a_node_has_the_field_and_the_node() -> None:
    error = InputError("5", where="node takes[1], span", allowed="4:7")
    assert (error.field, node_of(error)) == ("span", "takes[1]")
    assert (InputError("x", where="node take").field, node_of(InputError("x", where="tags"))) == ("", "")
    inside = at_node(InputError("60 s", where="init_noise.duration"), PlanNode("noise", "init_noise", {}))
    assert isinstance(inside, InputError)
    assert (inside.field, node_of(inside)) == ("duration", "noise")
    assert str(inside) == "node noise, init_noise.duration: 60 s"
    assert node_of(StageError("take", "sample", ValueError("x"))) == "take"
