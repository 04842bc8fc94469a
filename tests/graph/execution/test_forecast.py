"""The dry run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.forecast import Forecast, forecast
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.song_length import planned_seconds
from acestep_flows.graph.planning.plan import Fallback, Plan, PlanNode
from acestep_flows.stages.contract import Stage
from acestep_flows.stages.registry import stages
from acestep_flows.values import Latents, Span
from tests.graph.small_stages import RAN, node, out, plan_of, run, scheduler_of, song


@pytest.fixture(autouse=True)
def fresh() -> None:
    RAN.clear()


def forecast_of(plan: Plan, store: DiskStore | None = None, before: Plan | None = None) -> Forecast:
    async def both() -> Forecast:
        with scheduler_of(store=store) as scheduler:
            if before is not None:
                await run_plan(scheduler, before)
                RAN.clear()
            return await forecast(plan, scheduler)

    return asyncio.run(both())


def fates(forecast: Forecast) -> dict[str, str]:
    return {node.id: node.fate for node in forecast.nodes}


def test_nothing_is_known_of_a_first_run_and_nothing_is_done() -> None:
    seen = forecast_of(song())
    assert fates(seen) == dict.fromkeys(["one", "two", "long", "song"], "computed")
    assert (seen.seconds, seen.complete, seen.held, seen.peak) == (0.0, False, 0, None)
    assert RAN == []


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_is_cached_is_seen_in_either_tier(tmp_path: Path, on_disk: bool) -> None:
    if on_disk:
        store = DiskStore(tmp_path)
        run(song(gain=1.0), store=store)
        RAN.clear()
        seen = forecast_of(song(gain=0.5), store)
    else:
        seen = forecast_of(song(gain=0.5), before=song(gain=1.0))
    assert fates(seen) == {"one": "cached", "two": "cached", "long": "cached", "song": "computed"}
    assert RAN == []


def test_seconds_and_sizes_are_those_seen_before() -> None:
    plan = plan_of(
        {"a": node("step", steps=10, pause=0.005), "b": node("step", latents=out("a"), steps=10, pause=0.005)}
    )
    again = plan_of(
        {"a": node("step", steps=10, pause=0.001), "b": node("step", latents=out("a"), steps=10, pause=0.001)}
    )
    seen = forecast_of(again, before=plan)
    assert seen.complete
    assert (seen.peak or 0) > 10**7  # A Python process with numpy.
    assert 0.1 <= seen.seconds < 0.3
    assert all((entry.nbytes or 0) >= 512 for entry in seen.nodes)
    other = plan_of({"a": node("step", steps=99)})
    assert not forecast_of(other, before=plan).complete  # Another step count was never timed.


def test_values_that_live_at_once_are_added_up() -> None:
    chain = {"n0": node("make", frames=1000)}
    for i in range(1, 5):
        chain[f"n{i}"] = node("mix", parts=[out(f"n{i - 1}")])
    one = 8 * 16 * 1000 * 4
    assert forecast_of(plan_of(chain), before=plan_of(chain)).held == pytest.approx(2 * one, rel=0.01)


def test_what_would_be_skipped_or_refused_is_told() -> None:
    plan = plan_of(
        {
            "off": node("make", when=(False,)),
            "on": node("step", latents=Fallback((out("off"), None)), tag="x"),
            "bad": node("mix", parts=[out("off")]),
            "worse": node("make", seed=-1),
            "after": node("step", latents=out("worse")),
        }
    )
    seen = forecast_of(plan)
    assert fates(seen) == {
        "off": "skipped",
        "on": "computed",
        "bad": "refused",
        "worse": "refused",
        "after": "computed",
    }
    problems = {node.id: node.problem for node in seen.nodes if node.problem}
    assert problems["bad"] == "node bad, parts: missing: the node that makes it was skipped"
    assert problems["worse"].startswith("node worse, seed: -1 (allowed: ")


def test_the_length_of_a_song_is_told_from_the_plan() -> None:
    noise, sample = stages()["init_noise"], stages()["sample"]
    longer, kept = stages()["repaint"], stages()["keep_outside"]
    latents = Latents(np.zeros((8, 16, 100), np.float32))
    lengths: dict[str, float | None] = {"words": None}
    nodes: list[tuple[str, type[Stage], dict[str, Any]]] = [
        ("noise", noise, {"duration": 60}),
        ("song", sample, {"noise": out("noise"), "lyrics": out("words")}),
        ("longer", longer, {"source": out("song"), "left": 0, "right": 30.0}),
        ("kept", kept, {"changed": out("longer"), "left": 0, "right": 30.0}),
        ("again", longer, {"source": latents, "span": Span(1, 2)}),
    ]
    for id, stage, inputs in nodes:
        lengths[id] = planned_seconds(PlanNode(id, stage.name, inputs), stage, lengths)
    found = {id: length and round(length, 1) for id, length in lengths.items()}
    assert found == {"words": None, "noise": 60, "song": 60, "longer": 90, "kept": 90, "again": 9.3}
