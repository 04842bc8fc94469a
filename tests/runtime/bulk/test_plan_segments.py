"""Plans cut into legs: done leg by leg they come to what they come to at once."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.planning.plan import Fallback, NodeOutput, Plan
from acestep_flows.runtime.bulk.plan_segments import advance, legs_of, merged, only, within
from acestep_flows.values import Value
from tests.graph.small_stages import node, out, plan_of, run, scheduler_of, song

APART = {"make": "maker", "step": "stepper", "mix": "mixer", "judge": "judge", "sing": "singer"}
ALL = dict.fromkeys(APART, "all")


def leg_by_leg(plan: Plan, homes: Mapping[str, str], way: Sequence[str] | None = None) -> Plan:
    """The plan when every process of the way has done its part; between them it is pickled."""

    async def go() -> Plan:
        left = plan
        with scheduler_of() as scheduler:
            for process in legs_of(plan, homes) if way is None else way:
                part = within(left, process, homes)
                if part is None:
                    continue
                result = await run_plan(scheduler, part)
                values = await scheduler.runner.fetch(dict(result.outputs))
                done = {id for id, found in result.nodes.items() if found.cache_key is not None}
                made = {ref: values[name] for name, ref in part.outputs.items() if ref.node in done}
                left = pickle.loads(pickle.dumps(advance(left, part, made)))
        return left

    return asyncio.run(go())


def shown(content: Any) -> Any:
    """Outputs as things that can be compared."""
    if isinstance(content, Value):
        return content.digest
    if isinstance(content, Mapping):
        return {name: shown(part) for name, part in content.items()}
    if isinstance(content, (list, tuple)):
        return [shown(part) for part in content]
    return content


LOUD = plan_of(
    {
        "one": node("make", seed=1),
        "verdict": node("judge", latents=out("one")),
        "louder": node("mix", when=(out("verdict", "loud"),), parts=[out("one")], gain=2.0),
        "softer": node("mix", when=(False,), parts=[out("one")], gain=0.5),
        "end": node("mix", parts=[Fallback((out("softer"), out("louder"), out("one")))], gain=1.0),
    },
    {
        "latents": out("end"),
        "level": out("verdict", "score"),
        "untaken": out("softer"),
        "either": Fallback((out("softer"), None)),
        "map": {"a": [out("louder"), 3], "b": None},
    },
)
CHAIN = plan_of(
    {
        "a": node("make", seed=1),
        "b": node("step", latents=out("a")),
        "c": node("mix", parts=[out("b"), out("a")]),
        "d": node("step", latents=out("c")),
        "e": node("mix", parts=[out("d"), out("b")]),
    }
)


@pytest.mark.parametrize("plan", [song(3), LOUD, CHAIN], ids=["song", "loud", "chain"])
@pytest.mark.parametrize("homes", [ALL, APART], ids=["all", "apart"])
def test_leg_by_leg_comes_to_the_same(plan: Plan, homes: Mapping[str, str]) -> None:
    left = leg_by_leg(plan, homes)
    assert not left.nodes
    assert shown(left.outputs) == shown(run(plan)[1])


def test_one_process_is_one_leg() -> None:
    assert legs_of(CHAIN, ALL) == ("all",)


def test_a_plan_that_goes_back_and_forth_has_more_legs() -> None:
    assert legs_of(CHAIN, APART) == ("maker", "stepper", "mixer", "stepper", "mixer")


def test_who_can_do_all_of_its_own_goes_first() -> None:
    late = plan_of({"a": node("step"), "b": node("make"), "c": node("step", latents=out("b"))})
    assert legs_of(late, APART) == ("maker", "stepper")


def test_values_that_nobody_needs_stay_behind() -> None:
    part = within(CHAIN, "maker", APART)
    assert part is not None
    assert set(part.nodes) == {"a"}
    left = leg_by_leg(CHAIN, APART, ["maker", "stepper", "mixer"])
    assert set(left.nodes) == {"d", "e"}
    assert not left.nodes["d"].needs()


def test_a_leg_without_work_is_passed_through() -> None:
    left = leg_by_leg(song(), APART, ["judge", "maker", "judge", "stepper", "mixer", "mixer"])
    assert not left.nodes


def test_outputs_nobody_asks_for_are_not_made() -> None:
    kept = only(LOUD, ["level"])
    assert set(kept.nodes) == {"one", "verdict"}
    assert kept.outputs == {"level": NodeOutput("verdict", "score")}


def _is_within(way: Sequence[str], whole: Sequence[str]) -> bool:
    steps = iter(whole)
    return all(name in steps for name in way)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=5), max_size=4))
def test_a_merged_way_holds_every_way(ways: list[list[str]]) -> None:
    whole = merged(ways)
    assert all(_is_within(way, whole) for way in ways)
    assert len(whole) <= sum(map(len, ways))
    assert set(whole) == {name for way in ways for name in way}
