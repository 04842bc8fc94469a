"""Literals of one node: checked when the plan is laid out, and not again by the run."""

from __future__ import annotations

import pytest

from acestep_flows.errors import InputError
from acestep_flows.graph.planning.literals import check_literals
from acestep_flows.graph.planning.plan import NodeOutput, PlanNode
from acestep_flows.graph.planning.resolve import call_of
from tests.graph.small_stages import Mix
from tests.graph.toys import REGISTRY

PAINT = REGISTRY["paint"]
SOURCE, SCORE = NodeOutput("take", "latents"), NodeOutput("judge", "score")


def test_parameters_are_what_the_stage_makes_of_literals() -> None:
    inputs = {"source": SOURCE, "strength": 1, "label": "a"}
    assert check_literals(PAINT, inputs, "n").params == PAINT.Params.model_validate({"strength": 1.0, "label": "a"})


def test_a_node_that_waits_for_a_parameter_has_none_yet() -> None:
    assert check_literals(PAINT, {"source": SOURCE, "strength": SCORE}, "n").params is None


@pytest.mark.parametrize("label", ["a", SCORE])
def test_a_literal_is_refused_whether_or_not_others_are_known(label: object) -> None:
    with pytest.raises(InputError, match=r"^node n: strength is 2.0; allowed: 0 to 1$"):
        check_literals(PAINT, {"strength": 2, "label": label}, "n")


def test_a_run_takes_checked_parameters_as_they_are() -> None:
    inputs = {"parts": [], "gain": 2}
    node = PlanNode("n", "mix", inputs, params=check_literals(Mix, inputs, "n").params)
    call = call_of(node, Mix, {}, {})
    assert call.params is node.params
    assert call == call_of(PlanNode("n", "mix", inputs), Mix, {}, {})
