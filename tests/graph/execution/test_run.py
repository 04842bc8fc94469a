"""Runs: order, concurrency, absence, failure, cancellation, deadline, retries, and what they tell."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.errors import (
    Cancelled,
    CheckpointError,
    DeadlineExceeded,
    InputError,
    NotFound,
    StageError,
)
from acestep_flows.graph.execution.events import ENDS, Event
from acestep_flows.graph.execution.result import Options, Result
from acestep_flows.graph.execution.run import PlanRun, run_plan
from acestep_flows.graph.planning.plan import Fallback, Plan
from acestep_flows.values import Latents
from tests.graph.small_stages import (
    RAN,
    Meet,
    Step,
    Weights,
    ends,
    node,
    out,
    plan_of,
    run,
    scheduler_of,
    song,
    told,
)

SILENCE = Latents(np.zeros((8, 16, 2), np.float32))


@pytest.fixture(autouse=True)
def fresh() -> None:
    RAN.clear()
    Step.steps_done = 0
    Meet.barrier.reset()


def test_a_graph_gives_its_outputs() -> None:
    result, values = run(song(seed=3, gain=0.5))
    draws = [np.random.default_rng(seed).standard_normal((8, 16, 4)).astype(np.float32) for seed in (3, 7)]
    assert values["latents"] == Latents((draws[0] + draws[1]) * np.float32(0.5))
    assert values["report"].entries == {"n": 2}
    assert list(result.nodes) == ["one", "two", "long", "song"]
    assert result.nodes["one"].seeds == {"seed": 3}


def test_independent_nodes_run_side_by_side() -> None:
    plan = plan_of({"a": node("meet", who=1), "b": node("meet", who=2)}, {"both": [out("a", "who"), out("b", "who")]})
    assert run(plan)[1] == {"both": [1, 2]}  # Each waits for the other.


def test_a_node_does_not_wait_for_what_it_does_not_need() -> None:
    plan = plan_of(
        {"slow": node("step", steps=20, pause=0.01), "quick": node("make"), "next": node("step", latents=out("quick"))}
    )
    events, _ = told(plan)
    order = [event.node for event in events if event.type == "finished"]
    assert order == ["quick", "next", "slow", ""]


def test_events_tell_the_life_of_a_node() -> None:
    events, _ = told(plan_of({"a": node("step", steps=2)}))
    assert [(event.type, event.node, event.step, event.steps) for event in events] == [
        ("started", "", None, None),
        ("queued", "a", None, None),
        ("started", "a", None, None),
        ("progress", "a", 0, 2),
        ("progress", "a", 1, 2),
        ("finished", "a", None, None),
        ("finished", "", None, None),
    ]
    assert all(event.seconds is not None for event in events if event.type == "finished")


def test_json_travels_in_the_open_and_into_parameters() -> None:
    plan = plan_of(
        {
            "a": node("make"),
            "loud": node("judge", latents=out("a")),
            "b": node("mix", parts=out("loud", "both"), gain=out("loud", "score")),
        },
        {"score": out("loud", "score"), "latents": out("b")},
    )
    _, values = run(plan)
    made = np.random.default_rng(0).standard_normal((8, 16, 4)).astype(np.float32)
    assert values["score"] == pytest.approx(float(np.abs(made).max()))
    assert values["latents"] == Latents((made + made) * np.float32(values["score"]))


def test_an_output_may_be_a_literal_or_a_list() -> None:
    plan = plan_of({"a": node("make")}, {"list": [out("a"), out("a")], "given": SILENCE, "map": {"n": 3}})
    _, values = run(plan)
    assert values["list"][0] == values["list"][1]
    assert (values["given"], values["map"]) == (SILENCE, {"n": 3})


def test_a_plan_without_nodes_is_over_at_once() -> None:
    assert run(plan_of({}, {"n": 3}))[1] == {"n": 3}


def conditional(limit: float) -> Plan:
    return plan_of(
        {
            "a": node("make"),
            "loud": node("judge", latents=out("a"), limit=limit),
            "softer": node("mix", parts=[out("a")], gain=0.5, when=(out("loud", "loud"),)),
            "after": node("step", latents=out("softer"), when=(out("loud", "loud"), True)),
            "end": node("step", latents=Fallback((out("after"), out("a")))),
        },
        {"latents": out("end"), "softer": out("softer"), "either": Fallback(([out("softer")], []))},
    )


def test_a_node_that_is_not_taken_is_absent() -> None:
    result, values = run(conditional(limit=100.0))
    assert RAN == ["make", "judge", "step"]
    assert values["softer"] is None
    assert values["either"] == []
    assert result.nodes["softer"].cache_key is None


def test_a_node_that_is_taken_is_present() -> None:
    _, values = run(conditional(limit=0.0))
    made = np.random.default_rng(0).standard_normal((8, 16, 4)).astype(np.float32)
    assert values["latents"] == values["softer"] == values["either"][0] == Latents(made * np.float32(0.5))


@pytest.mark.parametrize(
    ("condition", "taken"), [(0, True), ("", True), (SILENCE, True), (False, False), (None, False)]
)
def test_only_false_and_absent_are_false(condition: Any, taken: bool) -> None:
    plan = plan_of({"a": node("make", when=(True, condition))})
    assert (run(plan)[1]["latents"] is not None) is taken


def test_a_skipped_node_is_told_of() -> None:
    events, _ = told(plan_of({"a": node("make", when=(False,))}))
    assert ends(events) == {"a": "skipped"}


def test_something_required_that_is_absent_is_refused() -> None:
    plan = plan_of({"a": node("make", when=(False,)), "b": node("mix", parts=[out("a")])})
    with pytest.raises(InputError, match=r"^node b, parts: missing: the node that makes it was skipped$"):
        run(plan)


def test_a_parameter_from_another_node_is_checked() -> None:
    plan = plan_of({"a": node("make"), "b": node("judge", latents=out("a")), "c": node("make", seed=out("b", "score"))})
    with pytest.raises(InputError, match=r"^node c, seed: .* \(allowed: a whole number\)"):
        run(plan)


def test_a_missing_input_names_the_node() -> None:
    with pytest.raises(InputError, match=r"^node a: no parts \(allowed: parts, gain\)$"):
        run(plan_of({"a": node("mix")}))


def test_an_unknown_stage_is_not_found() -> None:
    with pytest.raises(NotFound, match="no stage 'nothing'"):
        run(plan_of({"a": node("nothing")}))


def test_a_crash_names_node_stage_and_cause() -> None:
    with pytest.raises(StageError, match=r"^node a \(break\): ZeroDivisionError: by zero$") as caught:
        run(plan_of({"a": node("break")}))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_refused_input_stays_an_input_error() -> None:
    with pytest.raises(InputError, match=r"^node a, span\.end: too long \(allowed: up to 30 s\)$"):
        run(plan_of({"a": node("break", how="input")}))


def test_a_failure_cancels_what_no_longer_matters() -> None:
    plan = plan_of(
        {
            "slow": node("step", steps=1000, pause=0.005),
            "early": node("make"),
            "bad": node("break", latents=out("early")),
            "after": node("step", latents=out("bad")),
        },
        {"a": out("slow"), "b": out("after")},
    )
    events, error = told(plan)
    assert isinstance(error, StageError)
    assert ends(events) == {"early": "finished", "bad": "failed", "after": "cancelled", "slow": "cancelled"}
    assert (events[-1].type, events[-1].error) == ("failed", error)
    assert Step.steps_done < 900


def test_a_run_that_keeps_going_makes_what_does_not_depend_on_the_failure() -> None:
    plan = plan_of(
        {
            "slow": node("step", steps=5, pause=0.01, tag="slow"),
            "bad": node("break"),
            "after": node("step", latents=out("bad")),
            "only": node("step", steps=1000, pause=0.005, tag="only"),
            "both": node("mix", parts=[out("after"), out("only")]),
        },
        {"a": out("slow"), "b": out("both")},
    )
    events, result = told(plan, keep_going=True)
    assert isinstance(result, Result)
    assert list(result.outputs) == ["a"]
    assert list(result.failures) == ["bad"]
    # `only` serves nothing but `both`, which can no longer be made.
    assert ends(events) == {
        "bad": "failed",
        "after": "cancelled",
        "both": "cancelled",
        "only": "cancelled",
        "slow": "finished",
    }


def test_nothing_else_is_called_again() -> None:
    with pytest.raises(StageError):
        run(plan_of({"a": node("break")}))
    assert RAN == ["break"]


def test_cancel_stops_at_the_next_step() -> None:
    def act(under_way: PlanRun, event: Event) -> None:
        if event.type == "progress" and event.step == 3:
            under_way.cancel()

    plan = plan_of({"a": node("step", steps=1000, pause=0.005), "b": node("step", latents=out("a"))})
    events, error = told(plan, act)
    assert isinstance(error, Cancelled)
    assert ends(events) == {"a": "cancelled", "b": "cancelled"}
    assert events[-1].type == "cancelled"
    steps = Step.steps_done
    assert 3 <= steps < 100
    time.sleep(0.05)
    assert Step.steps_done == steps  # It has really stopped.


def test_the_deadline_stops_at_the_next_step() -> None:
    events, error = told(plan_of({"a": node("step", steps=1000, pause=0.005)}), deadline=0.05)
    assert isinstance(error, DeadlineExceeded)
    assert str(error) == "the run was stopped after 0.05 s, its deadline"
    assert isinstance(events[-1].error, DeadlineExceeded)
    assert Step.steps_done < 500


@pytest.mark.parametrize("deadline", [float("nan"), float("inf")])
def test_a_deadline_is_a_number(deadline: float) -> None:
    with pytest.raises(InputError, match=r"^deadline: (nan|inf) \(allowed: a finite number of seconds\)"):
        Options(deadline=deadline)


def test_a_deadline_that_is_met_changes_nothing() -> None:
    assert isinstance(told(song(), deadline=60.0)[1], Result)


def test_cancelling_the_coroutine_stops_the_run() -> None:
    async def both() -> None:
        with scheduler_of() as scheduler:
            task = asyncio.ensure_future(run_plan(scheduler, plan_of({"a": node("step", steps=1000, pause=0.005)})))
            while Step.steps_done < 3:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(both())
    steps = Step.steps_done
    time.sleep(0.05)
    assert Step.steps_done == steps < 500


def test_calls_without_a_place_are_cancelled_before_they_start() -> None:
    def act(under_way: PlanRun, event: Event) -> None:
        if event.type == "progress" and event.step == 1:
            under_way.cancel()

    nodes = {f"n{i}": node("step", steps=1000, pause=0.005, tag=str(i)) for i in range(20)}
    events, _ = told(plan_of(nodes), act)
    assert set(ends(events).values()) == {"cancelled"}
    assert len(RAN) <= 12  # There are 4 workers; one that is freed may begin another before that is cancelled.


def test_values_are_let_go_of_when_nobody_needs_them() -> None:
    seen: list[int] = []
    alive: list[weakref.ref[Any]] = []

    async def both() -> None:
        with scheduler_of(memory=0) as scheduler:

            def hear(event: Event) -> None:
                if event.type == "finished" and event.node == "a":
                    handle: Any = under_way._outputs["a"]["latents"]
                    alive.append(weakref.ref(handle.token))
                if event.type == "queued" and event.node == "c":
                    time.sleep(0.05)  # the threads of `a` and `b` let go of their replies
                    gc.collect()
                    seen.extend(ref() is not None for ref in alive)

            plan = plan_of(
                {"a": node("make"), "b": node("mix", parts=[out("a")]), "c": node("mix", parts=[out("b")], gain=2.0)}
            )
            under_way = PlanRun(scheduler, plan, Options(on_event=hear))
            await under_way.result()

    asyncio.run(both())
    assert seen == [False]


def test_weights_are_looked_up_once_for_each_stage() -> None:
    weights = Weights()
    run(plan_of({f"n{i}": node("make", seed=i) for i in range(20)}), weights=weights)
    assert weights.asked == 1


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Graphs of any shape: each node mixes some before it; some break, some are not taken."""
    nodes: dict[str, Any] = {}
    for i in range(draw(st.integers(1, 10))):
        before = draw(st.lists(st.sampled_from([*nodes]), max_size=3, unique=True)) if nodes else []
        parts: list[Any] = [Fallback((out(id), SILENCE)) for id in before] or [SILENCE]
        taken = draw(st.booleans()) or draw(st.booleans())
        breaks = draw(st.integers(0, 9)) == 0
        nodes[f"n{i}"] = (
            node("break", latents=parts[0], when=(taken,))
            if breaks
            else node("mix", parts=parts, gain=float(i), when=(taken,))
        )
    outputs = draw(st.lists(st.sampled_from([*nodes]), min_size=1, max_size=3, unique=True))
    return plan_of(nodes, {id: out(id) for id in outputs})


@settings(max_examples=60, deadline=None)
@given(plans(), st.booleans())
def test_every_node_has_one_end_and_the_run_has_the_last_word(plan: Plan, keep_going: bool) -> None:
    events, result = told(plan, keep_going=keep_going)
    counted = Counter(event.node for event in events if event.type in ENDS)
    assert counted == Counter([*plan.nodes, ""])
    assert events[-1].node == ""
    order = {(event.node, event.type): i for i, event in enumerate(events)}
    for id, planned in plan.nodes.items():
        for source in planned.needs():
            if (id, "queued") in order:
                ended = max(order.get((source, end), -1) for end in ENDS)
                assert -1 < ended < order[id, "queued"]
    broken = [id for id, planned in plan.nodes.items() if planned.stage == "break" and planned.when == (True,)]
    if not broken:
        assert isinstance(result, Result)
        assert set(result.nodes) == set(plan.nodes)


def test_named_weights_are_looked_for_before_anything_runs() -> None:
    nodes = {"one": node("make"), "other": node("step"), "two": node("sing", latents=out("one"), voice="bass")}
    plan = plan_of(nodes, {"latents": out("two"), "others": out("other")})
    events, error = told(plan)
    assert isinstance(error, CheckpointError)
    assert str(error) == "node two, voice: no weights for 'bass' (allowed: alto)"
    assert RAN == []
    assert ends(events) == {"one": "cancelled", "other": "cancelled", "two": "failed"}


def test_what_needs_no_absent_weights_is_still_made_when_asked() -> None:
    nodes = {"one": node("make"), "other": node("step"), "two": node("sing", latents=out("one"), voice="bass")}
    plan = plan_of(nodes, {"latents": out("two"), "others": out("other")})
    events, result = told(plan, keep_going=True)
    assert list(result.outputs) == ["others"]
    assert ends(events) == {"one": "cancelled", "other": "finished", "two": "failed"}


def test_weights_behind_a_condition_are_looked_for_when_it_holds() -> None:
    nodes = {
        "one": node("make"),
        "judge": node("judge", latents=out("one"), limit=1e9),
        "two": node("sing", latents=out("one"), voice="bass", when=(out("judge", "loud"),)),
    }
    result, _ = run(plan_of(nodes, {"latents": Fallback((out("two"), out("one")))}))
    assert "two" in result.nodes
