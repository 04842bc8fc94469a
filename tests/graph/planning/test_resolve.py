"""Bindings to calls, and calls to keys."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from acestep_flows.graph.content import Handle
from acestep_flows.graph.execution.cache_key import CacheKey, cache_key
from acestep_flows.graph.planning.plan import Fallback, PlanNode
from acestep_flows.graph.planning.resolve import SKIPPED, call_of, present, resolve, runs, values_of
from acestep_flows.values import Latents, Span
from tests.graph.small_stages import Make, Mix, out, plan_of
from tests.graph.small_stages import node as of

ONE, TWO = Handle("latents", "d1", 10), Handle("latents", "d2", 10)
RESULTS: dict[str, Any] = {"a": {"latents": ONE, "none": None}, "b": {"latents": TWO}, "off": SKIPPED}
SILENCE = Latents(np.zeros((8, 16, 1), np.float32))
HELD = {id(SILENCE): Handle("latents", SILENCE.digest, 512)}


@pytest.mark.parametrize(
    ("binding", "content"),
    [
        (3, 3),
        ("$a", "$a"),
        (Span(0.5, 1), {"start": 0.5, "end": 1}),
        (out("a"), ONE),
        (out("off"), None),
        ([out("a"), 1, (out("b"),)], [ONE, 1, [TWO]]),
        ({"x": out("a"), "y": {"z": SILENCE}}, {"x": ONE, "y": {"z": HELD[id(SILENCE)]}}),
        (Fallback((out("off"), out("b"), out("a"))), TWO),
        (Fallback((out("a", "none"), 5)), 5),
        (Fallback(([out("off"), out("a")], [out("b")])), [TWO]),
        (Fallback(([Fallback((out("off"), out("a")))], 5)), [ONE]),
        (Fallback((out("off"), None)), None),
        ([out("off")], [None]),
    ],
)
def test_references_become_content(binding: Any, content: Any) -> None:
    assert resolve(binding, RESULTS, HELD) == content


def test_presence_looks_inside() -> None:
    assert present({"x": [out("a")]}, RESULTS)
    assert not present({"x": [out("a"), out("off")]}, RESULTS)
    assert present(Fallback((out("off"), 1)), RESULTS)
    assert not present(Fallback((out("off"),)), RESULTS)


def test_all_conditions_count() -> None:
    assert runs(PlanNode("n", "make", {}), RESULTS, HELD)
    assert runs(PlanNode("n", "make", {}, (True, out("a"), 0)), RESULTS, HELD)
    assert not runs(PlanNode("n", "make", {}, (True, out("off"))), RESULTS, HELD)


def test_every_value_of_a_plan_is_listed_once_save_spans() -> None:
    other = Latents(np.ones((8, 16, 1), np.float32))
    nodes = {
        "a": of("mix", parts=[SILENCE, SILENCE], when=(other,)),
        "b": of("mix", parts=Fallback(({"x": SILENCE},)), gain=Span(0, 1)),
    }
    assert set(values_of(plan_of(nodes)).values()) == {SILENCE, other}
    assert len(values_of(plan_of(nodes, {"o": SILENCE}))) == 2


def test_ports_and_parameters_part() -> None:
    call = call_of(PlanNode("n", "mix", {"parts": [out("a")], "gain": 2}), Mix, RESULTS, HELD)
    assert call.inputs == {"parts": [ONE]}
    assert call.params == Mix.Params(gain=2.0)


def key_of(**inputs: Any) -> str:
    return cache_key(call_of(PlanNode("n", "mix", inputs), Mix, RESULTS, HELD), ("w",), "cpu-float32").digest


def test_the_key_tells_inputs_and_parameters_apart() -> None:
    same = key_of(parts=[out("a"), out("b")])
    assert same == key_of(parts=[out("a"), out("b")], gain=1)
    assert len({same, key_of(parts=[out("b"), out("a")]), key_of(parts=[out("a")]), key_of(parts=[], gain=0.5)}) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "other"},
        {"version": 2},
        {"weights": ("w2",)},
        {"weights": ()},
        {"params": "p2"},
        {"inputs": {"x": 2}},
        {"numerics": "cpu-bfloat16"},
    ],
)
def test_everything_is_in_the_key(change: dict[str, Any]) -> None:
    made = CacheKey("stage", 1, ("w",), "p", {"x": 1}, "cpu-float32")
    assert dataclasses.replace(made, **change).digest != made.digest
    assert dataclasses.replace(made).digest == made.digest


def test_the_key_does_not_change_between_versions_of_the_package() -> None:
    """What is on users' disks stays found; a deliberate change raises KEY_SCHEMA."""
    call = call_of(PlanNode("n", "make", {"seed": 3}), Make, {}, {})
    assert (
        cache_key(call, ("w",), "cpu-float32").digest
        == "b993b0f6ff00c458fa225058b57c0ae62625c22e50744512ed54664645055293"
    )
