"""Snapshots: what is accepted is planned again to the same run, and holds nothing that may change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.api.execution import accepted_run
from acestep_flows.api.execution.accepted_run import RunPlanner, StandIn, planned, snapshot
from acestep_flows.errors import GraphError, InputError, NotFound
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.records.graph_content import graph_scope
from acestep_flows.stages.ports import PortType
from acestep_flows.stages.registry import stages
from acestep_flows.values import Audio, Latents, Value

LIBRARY = Library(working=None)
VALUES: dict[str, Value] = {
    "one": Latents(np.ones((8, 16, 20), np.float32)),
    "two": Audio(np.zeros((2, 48_000), np.float32), 48_000),
}


def scope_of(name: str) -> Scope:
    return checked(LIBRARY.load(name), stages(), LIBRARY.nested)


def open_asset(id: str, kind: str, where: str) -> Value:
    if id not in VALUES:
        raise NotFound(f"no asset {id}")
    if VALUES[id].kind not in PortType(kind).value_kinds:
        raise InputError(f"holds {VALUES[id].kind}", where=where, allowed=kind)
    return VALUES[id]


def shape(plan: Plan) -> Any:
    return plan.graph, plan.digest, plan.inputs, plan.nodes, plan.outputs


REQUESTS: dict[str, dict[str, Any]] = {
    "text2music": {"tags": "rock"},
    "batch-takes": {"tags": "rock", "seeds": [3, 4]},
    "repaint": {"source": {"asset": "two"}, "tags": "rock", "span": [0.2, 0.5]},
    "decode": {"latents": {"asset": "one"}},
    "variation-in-span": {"source": {"asset": "one"}, "tags": "rock", "span": {"start": 0.1}},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_accepted_is_planned_to_the_same(name: str) -> None:
    plan, new = snapshot(scope_of(name), REQUESTS[name], open_asset)
    content, inputs = (json.loads(json.dumps(part)) for part in (new.content, new.inputs))
    again, assets = planned(content, inputs, open_asset)
    assert shape(again) == shape(plan)
    assert (new.graph, new.digest) == (name, plan.digest)
    assert sorted(assets.values()) == sorted(new.assets)
    third, second = snapshot(scope_of(name), inputs, open_asset)
    assert shape(third) == shape(plan)  # A run's inputs can be sent again as they are shown.
    assert second == new


@pytest.mark.parametrize("name", REQUESTS)
def test_a_run_is_accepted_without_reading_its_assets(name: str) -> None:
    def stand_in(id: str, kind: str, where: str) -> Value:
        return StandIn(open_asset(id, kind, where).kind)

    _, new = snapshot(scope_of(name), REQUESTS[name], stand_in)
    assert snapshot(scope_of(name), new.inputs, open_asset)[1] == new


def test_seeds_are_drawn_once() -> None:
    first, second = (snapshot(scope_of("text2music"), {"tags": "x"}, open_asset)[1].inputs["seed"] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(
    ("latents", "error", "message"),
    [
        ({"asset": "none"}, NotFound, "no asset none"),
        ({"asset": "two"}, InputError, "latents: holds audio"),
        ({"asset": 3}, InputError, "latents: not an asset"),
        ({"asset": "one", "more": 1}, InputError, "latents: not an asset"),
        ("/etc/passwd", NotFound, "no asset"),
        ([1, 2], InputError, "latents: not an asset"),
        (None, InputError, "latents"),
    ],
)
def test_only_assets_stand_for_values(latents: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        snapshot(scope_of("decode"), {"latents": latents}, open_asset)


def test_unknown_inputs_are_left_to_the_graph_to_refuse() -> None:
    with pytest.raises(InputError, match="latent"):
        snapshot(scope_of("decode"), {"latents": {"asset": "one"}, "latent": {"asset": "one"}}, open_asset)


def test_a_graph_that_does_not_check_any_more_is_told(tmp_path: Path) -> None:
    _, new = snapshot(scope_of("decode"), REQUESTS["decode"], open_asset)
    with pytest.raises(GraphError, match="decode_latents"):
        planned(new.content, new.inputs, open_asset, {})


def test_a_span_past_the_end_is_refused_before_its_asset_is_read() -> None:
    def stand_in(id: str, kind: str, where: str) -> Value:
        return StandIn("audio", seconds=2.973)

    request = {"source": {"asset": "two"}, "tags": "rock", "seed": 1}
    with pytest.raises(
        InputError, match=r"^span: 1 to 20 s, but source is 2.97 s long \(allowed: within 0 to 2.97 s\)$"
    ):
        snapshot(scope_of("repaint"), request | {"span": [1, 20]}, stand_in)
    _, new = snapshot(scope_of("repaint"), request | {"span": [1, 2.9736]}, stand_in)
    assert new.inputs["span"] == {"start": 1.0, "end": 2.9736}
    _, new = snapshot(scope_of("repaint"), request | {"span": [1, None]}, stand_in)
    assert new.inputs["span"] == {"start": 1.0, "end": None}


def test_a_graph_that_many_runs_have_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []

    def check(content: Any, where: str, registry: Any) -> Scope:
        scope = graph_scope(content, where, registry)
        checks.append(scope.graph.name)
        return scope

    monkeypatch.setattr(accepted_run, "graph_scope", check)
    song, takes = (snapshot(scope_of(name), REQUESTS[name], open_asset)[1] for name in ("text2music", "batch-takes"))
    expected = {new.graph: shape(planned(new.content, new.inputs, open_asset)[0]) for new in (song, takes)}
    monkeypatch.setattr(accepted_run, "graph_scope", check)
    for room, checked_graphs in ((1 << 20, [song.graph, takes.graph]), (0, [song.graph, takes.graph, song.graph])):
        checks.clear()
        planner = RunPlanner(most=max(len(json.dumps(new.content)) for new in (song, takes)) + room)
        for new in (song, song, takes, takes, song):
            content = json.loads(json.dumps(new.content))
            assert shape(planner.plan(content, new.inputs, open_asset)[0]) == expected[new.graph]
        assert checks == checked_graphs
