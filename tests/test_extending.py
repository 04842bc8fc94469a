"""What ARCHITECTURE.md says is so: its table, its paths, and its four ways to add something, each done here."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import numpy as np
import pytest
import torch

from acestep_flows.errors import GraphError
from acestep_flows.graph.checking import check
from acestep_flows.graph.checking.rules import RULES
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import plan
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.sampling.options import SamplerOptions
from acestep_flows.sampling.text2music import text2music
from acestep_flows.sampling.trajectory import State
from acestep_flows.stages.registry import stages
from acestep_flows.values import Audio
from tests.api.door import opened
from tests.sampling.toy import draws_of, finish, noise_of, toy
from tests.test_layers import LAYERS, ROOT

PAGE = (Path(__file__).parents[1] / "ARCHITECTURE.md").read_text(encoding="utf-8")


@pytest.fixture
def added(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The code of a section of the page, as a module."""
    section = PAGE.partition(f"\n## {request.param}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    module = ModuleType("added")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where a stage's type hints are looked up
    exec(compile("from __future__ import annotations\n" + code, request.param, "exec"), module.__dict__)
    return module


def section(heading: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("added", [heading], indirect=True)


GRAPH = """
graph: louder
version: 1
inputs: {source: {type: audio}}
nodes: {song: {stage: gain, with: {audio: $source, decibels: 20}}}
outputs: {audio: $song.audio}
"""


@section("Add a stage")
def test_a_stage_runs_in_a_graph(added: ModuleType, small: Checkpoint) -> None:
    registry = {**stages(), "gain": added.Gain}
    source = Audio(np.full((2, 4410), 0.05, np.float32), 44_100)
    louder = plan(parse(GRAPH), {"source": source}, registry=registry, find=Library().nested)

    async def run() -> Any:
        with LocalRunner(small) as runner:
            result = await run_plan(Scheduler(registry, runner), louder)
            return (await runner.fetch(dict(result.outputs)))["audio"]

    np.testing.assert_allclose(asyncio.run(run()).samples, 0.5, rtol=1e-6)


@section("Add a stage")
def test_a_graph_is_checked_against_a_new_stage(added: ModuleType) -> None:
    registry = {**stages(), "gain": added.Gain}
    (problem,) = check.check(parse(GRAPH.replace("20", "21")), registry, Library().nested)
    assert "decibels" in problem.message


@section("Add a graph rule")
def test_a_rule_finds_problems(added: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "RULES", (*RULES, added.short_names))
    graph = parse(GRAPH.replace("gain", "trim").replace("decibels: 20", "span: [0, 1]").replace("song", "s" * 41))
    with pytest.raises(GraphError, match="a name of 41 characters; allowed: up to 40"):
        check.checked(graph, stages(), Library().nested)


@section("Add a route")
def test_a_route_answers(added: ModuleType, small: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, small, executing=False) as door:
        door.app.include_router(added.router)
        answer = httpx2.get(f"{door.url}/v1/stages")
    assert answer.json() == list(stages())


@section("Add a sampler")
def test_a_solver_samples_and_goes_on_from_a_saved_state(added: ModuleType) -> None:
    euler = text2music(noise_of(), SamplerOptions(steps=8, omega=0), draws_of())  # whose mean shift does nothing
    song = replace(euler, solver=added.PlainEuler(euler.solver.schedule))
    torch.testing.assert_close(finish(song, toy).latents, finish(euler, toy).latents)
    states: list[State] = []
    whole = finish(song, toy, states.append)
    assert finish(song, toy, state=State.load(states[3].save())).save() == whole.save()


def test_the_table_of_layers_is_the_one_that_is_held() -> None:
    rows = re.findall(r"^\| `([a-z0-9_.]+)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert {part: "" if allowed == "-" else allowed for part, allowed in rows} == LAYERS
    assert [part for part, _ in rows] == list(LAYERS)


def test_every_path_on_the_page_is_there() -> None:
    paths = {path for path in re.findall(r"`([a-z0-9_/]+\.py)`", PAGE) if "/" in path}
    assert len(paths) > 50
    assert [path for path in sorted(paths) if not (ROOT / path).exists() and not (ROOT.parent / path).exists()] == []


def test_the_glossary_stays_short() -> None:
    terms = PAGE.partition("## Glossary")[2].partition("\n## ")[0].count("\n| ") - 1
    assert terms <= 40
