"""Replay: where two runs part, and why."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.records.recipe import Recipe, recipe
from acestep_flows.graph.records.replay import NO_CAUSE, compare
from tests.graph.small_stages import Make, Weights, node, out, plan_of, run, song


def recipe_of(plan: Plan, **where: Any) -> Recipe:
    return recipe(run(plan, **where)[0], None)


def test_the_same_run_is_the_same() -> None:
    comparison = compare(recipe_of(song()), recipe_of(song()))
    assert comparison.same
    assert [node.verdict for node in comparison.nodes] == ["same"] * 4


def test_another_dtype_with_equal_outputs_is_the_same() -> None:
    assert compare(recipe_of(song()), recipe_of(song(), dtype="bfloat16")).same


def test_the_first_difference_is_the_cause_not_what_follows() -> None:
    comparison = compare(recipe_of(song(seed=1)), recipe_of(song(seed=2)))
    assert [node.verdict for node in comparison.nodes] == ["differs", "same", "differs", "differs"]
    assert str(comparison.first) == "node one (make) differs in latents: its parameters differ"
    assert [node.reason for node in comparison.nodes[2:]] == ["its input latents differs", "its input parts differs"]


def test_a_stage_that_is_not_deterministic_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe_of(song())
    plain = Make.run

    def moody(self: Make, batch: Any, params: Any, watch: Any = None) -> Any:
        return plain(self, batch, [Make.Params(seed=99)])

    monkeypatch.setattr(Make, "run", moody)
    first = compare(before, recipe_of(song())).first
    assert first is not None
    assert (first.id, first.reason) == ("one", NO_CAUSE)


def test_weights_version_and_numerics_are_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe_of(song(seed=1))
    monkeypatch.setattr(Make, "version", 2)
    first = compare(before, recipe_of(song(seed=2), weights=Weights({"transformer": "w2"}), dtype="bfloat16")).first
    assert first is not None
    assert first.reason == (
        "version 1 became 2; numerics cpu-float32 became cpu-bfloat16; its weights differ; its parameters differ"
    )


def test_missing_and_new_nodes_are_told() -> None:
    short = plan_of({"a": node("make")})
    long = plan_of({"a": node("make"), "b": node("step", latents=out("a"))})
    assert str(compare(recipe_of(long), recipe_of(short)).first) == "node b (step) missing: it did not run this time"
    assert str(compare(recipe_of(short), recipe_of(long)).first) == "node b (step) new: not in the recipe"


def test_a_node_skipped_once_differs() -> None:
    one, two = (plan_of({"a": node("make", when=(taken,)), "b": node("make")}) for taken in (True, False))
    assert (
        str(compare(recipe_of(one), recipe_of(two)).first)
        == "node a (make) differs in latents: it was skipped this time"
    )
    assert (
        str(compare(recipe_of(two), recipe_of(one)).first) == "node a (make) differs in latents: it was skipped before"
    )
