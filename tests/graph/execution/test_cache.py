"""The cache: what hits, what misses, modes, budgets, single flight."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import FlowsError, StageError, StorageError
from acestep_flows.graph.content import Handle
from acestep_flows.graph.execution.cache import Cache, CacheResult, MemoryTier
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.execution.events import Event
from acestep_flows.graph.execution.result import Options, Result
from acestep_flows.graph.execution.run import PlanRun, run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.values import Latents
from tests.graph import small_stages
from tests.graph.small_stages import (
    RAN,
    Make,
    Step,
    Weights,
    ends,
    node,
    out,
    plan_of,
    run,
    scheduler_of,
    song,
    sources,
    told,
)


@pytest.fixture(autouse=True)
def fresh() -> None:
    RAN.clear()
    Step.steps_done = 0


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "results")


def twice(first: Plan, second: Plan, **where: Any) -> tuple[Result, Result]:
    """Both plans in a row, in one scheduler."""

    async def both() -> tuple[Result, Result]:
        with scheduler_of(**where) as scheduler:
            before = await run_plan(scheduler, first)
            RAN.clear()
            return before, await run_plan(scheduler, second)

    return asyncio.run(both())


def test_an_identical_run_in_one_process_does_no_work() -> None:
    before, after = twice(song(), song())
    assert RAN == []
    assert set(sources(after).values()) == {"memory"}
    assert before.outputs == after.outputs


def test_an_identical_run_in_another_process_does_no_work(store: DiskStore) -> None:
    _, before = run(song(), store=store)
    RAN.clear()
    result, after = run(song(), store=store)
    assert RAN == []
    assert set(sources(result).values()) == {"disk"}
    assert before == after


def test_what_is_found_in_memory_counts_as_used_on_disk(store: DiskStore) -> None:
    async def both() -> set[str]:
        with scheduler_of(store=store) as scheduler:
            await run_plan(scheduler, song())
            paths = list(store.root.rglob("*.safetensors"))
            for path in paths:
                os.utime(path, (1000, 1000))
            result = await run_plan(scheduler, song())
            assert paths
            assert min(path.stat().st_mtime for path in paths) > 1000
            return set(sources(result).values())

    assert asyncio.run(both()) == {"memory"}


def test_a_changed_gain_runs_one_node() -> None:
    _, after = twice(song(gain=1.0), song(gain=0.5))
    assert RAN == ["mix"]
    assert sources(after) == {"one": "memory", "two": "memory", "long": "memory", "song": "computed"}


def test_a_new_seed_runs_what_depends_on_it() -> None:
    _, after = twice(song(seed=1), song(seed=2))
    assert sources(after) == {"one": "computed", "two": "memory", "long": "computed", "song": "computed"}


def test_equal_values_from_another_graph_hit() -> None:
    """The key holds values, not ancestry: the same latents by another way."""
    made = Latents(np.random.default_rng(0).standard_normal((8, 16, 4)).astype(np.float32))
    first = plan_of({"a": node("make"), "b": node("mix", parts=[out("a")])})
    second = plan_of({"other": node("mix", parts=[made])})
    assert sources(twice(first, second)[1]) == {"other": "memory"}


def test_a_default_written_out_hits() -> None:
    _, after = twice(plan_of({"a": node("make")}), plan_of({"a": node("make", seed=0, frames=4)}))
    assert sources(after) == {"a": "memory"}


def test_a_changed_weights_file_misses(store: DiskStore) -> None:
    run(song(), store=store)
    result, _ = run(song(), store=store, weights=Weights({"transformer": "w2"}))
    # `step` and `mix` have no weights, and their inputs are the same.
    assert sources(result) == {"one": "computed", "two": "computed", "long": "disk", "song": "disk"}


def test_a_changed_stage_version_misses(store: DiskStore, monkeypatch: pytest.MonkeyPatch) -> None:
    run(song(), store=store)
    monkeypatch.setattr(Make, "version", 2)
    assert sources(run(song(), store=store)[0])["one"] == "computed"


def test_a_changed_dtype_misses(store: DiskStore) -> None:
    run(song(), store=store)
    assert set(sources(run(song(), store=store, dtype="bfloat16")[0]).values()) == {"computed"}


def test_refresh_computes_again_and_replaces(store: DiskStore) -> None:
    run(song(), store=store)
    files = {path: path.stat().st_ino for path in store.root.rglob("*.safetensors")}
    result, _ = run(song(), Options(mode="refresh"), store=store)
    assert set(sources(result).values()) == {"computed"}
    again = {path: path.stat().st_ino for path in store.root.rglob("*.safetensors")}
    assert again.keys() == files.keys()
    assert all(again[path] != files[path] for path in files)


def test_off_neither_looks_nor_keeps(store: DiskStore) -> None:
    run(song(), store=store)
    before = sorted(store.root.rglob("*.safetensors"))
    result, _ = run(song(seed=5), Options(mode="off"), store=store)
    assert set(sources(result).values()) == {"computed"}
    result, _ = run(song(), Options(mode="off"), store=store)
    assert set(sources(result).values()) == {"computed"}
    assert sorted(store.root.rglob("*.safetensors")) == before


def test_an_error_is_not_kept(store: DiskStore) -> None:
    plan = plan_of({"a": node("break")})
    for _ in range(2):
        with pytest.raises(StageError):
            run(plan, store=store)
    assert RAN == ["break", "break"]
    assert not list(store.root.rglob("*.safetensors"))


def test_a_folder_that_cannot_be_written_costs_the_cache_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "results").write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        _, values = run(song(), store=DiskStore(tmp_path / "results"))
    assert values["latents"] is not None
    assert "cannot be written" in caplog.text


def test_two_runs_at_once_compute_each_node_once() -> None:
    async def both() -> tuple[Result, Result]:
        with scheduler_of() as scheduler:
            plan = plan_of({"a": node("make"), "b": node("step", latents=out("a"), pause=0.02)})
            return await asyncio.gather(run_plan(scheduler, plan), run_plan(scheduler, plan))

    first, second = asyncio.run(both())
    assert sorted(RAN) == ["make", "step"]
    for id in ("a", "b"):  # Either run may come first to a node.
        assert sorted([sources(first)[id], sources(second)[id]]) == ["computed", "memory"]
    assert first.outputs == second.outputs


def test_who_waits_for_another_run_s_work_reports_no_seconds_of_it() -> None:
    """Nothing was saved: the seconds are those of the run that computes. A later run is told what it saved."""
    plan = plan_of({"a": node("make"), "b": node("step", latents=out("a"), pause=0.05)})
    heard: list[list[Event]] = [[], [], []]

    async def all_three() -> list[Result]:
        with scheduler_of() as scheduler:
            runs = [run_plan(scheduler, plan, Options(on_event=events.append)) for events in heard]
            return [*await asyncio.gather(*runs[:2]), await runs[2]]

    results = asyncio.run(all_three())
    for result, events in zip(results, heard, strict=True):
        (end,) = (event for event in events if event.node == "b" and event.type in ("finished", "cached"))
        seconds = result.nodes["b"].seconds
        if end.type == "finished":
            assert end.seconds is not None
            assert end.seconds == seconds > 0.05
        elif result is results[2]:
            assert end.seconds is not None
            assert end.seconds > 0.05
        else:
            assert (end.seconds, seconds) == (None, 0)


def test_two_nodes_alike_are_computed_once() -> None:
    result, _ = run(plan_of({"a": node("make"), "b": node("make"), "c": node("mix", parts=[out("a"), out("b")])}))
    assert RAN == ["make", "mix"]
    assert sorted(list(sources(result).values())[:2]) == ["computed", "memory"]


def under_way(
    scheduler: Scheduler, plan: Plan, events: list[Event] | None = None
) -> tuple[PlanRun, asyncio.Task[Result]]:
    made = PlanRun(scheduler, plan, Options(on_event=(events if events is not None else []).append))
    return made, asyncio.ensure_future(made.result())


def test_a_cancelled_run_does_not_take_its_work_from_the_other() -> None:
    async def both() -> tuple[Result, list[Event]]:
        events: list[Event] = []
        with scheduler_of() as scheduler:
            plan = plan_of({"a": node("step", steps=30, pause=0.005)})
            first, cancelled = under_way(scheduler, plan)
            while Step.steps_done < 5:
                await asyncio.sleep(0.005)
            _, kept = under_way(scheduler, plan, events)
            await asyncio.sleep(0.02)
            first.cancel()
            with pytest.raises(FlowsError, match="cancelled"):
                await cancelled
            return await kept, events

    result, events = asyncio.run(both())
    assert sources(result) == {"a": "memory"}
    assert (RAN, Step.steps_done) == (["step"], 30)
    # Whoever comes later hears where the work stands, then of every step.
    assert [event.type for event in events[:3]] == ["started", "queued", "started"]
    assert events[3].type == "progress"
    assert (events[3].step or 0) >= 4


def test_the_work_stops_when_the_last_one_left_and_starts_anew_for_the_next() -> None:
    async def both() -> Result:
        with scheduler_of() as scheduler:
            plan = plan_of({"a": node("step", steps=40, pause=0.005)})
            runs = [under_way(scheduler, plan) for _ in range(2)]
            while Step.steps_done < 3:
                await asyncio.sleep(0.005)
            for made, _ in runs:
                made.cancel()
            _, kept = under_way(scheduler, plan)  # While the cancelled work is still on its way out.
            for _, task in runs:
                with pytest.raises(FlowsError, match="cancelled"):
                    await task
            return await kept

    assert sources(asyncio.run(both())) == {"a": "computed"}
    assert RAN == ["step", "step"]


def test_those_who_wait_for_work_that_fails_share_the_error_under_their_own_node() -> None:
    async def both() -> list[Any]:
        with scheduler_of() as scheduler:
            plans = [plan_of({id: node("break")}) for id in ("x", "y")]
            return await asyncio.gather(*(run_plan(scheduler, plan) for plan in plans), return_exceptions=True)

    assert [str(error) for error in asyncio.run(both())] == [
        "node x (break): ZeroDivisionError: by zero",
        "node y (break): ZeroDivisionError: by zero",
    ]
    assert RAN == ["break"]


def found(nbytes: int) -> CacheResult:
    return CacheResult({"latents": Handle("latents", "d", nbytes)}, "computed", 1.0)


def test_memory_keeps_within_its_budget_and_drops_the_oldest() -> None:
    tier = MemoryTier(40_000)
    for key in "abc":
        tier.put(key, found(10_000))
    assert tier.get("a") is not None  # Now younger than b.
    tier.put("d", found(10_000))
    assert [key for key in "abcd" if tier.get(key)] == ["a", "c", "d"]
    assert tier.used <= tier.budget


def test_memory_does_not_keep_what_is_larger_than_its_budget() -> None:
    tier = MemoryTier(40_000)
    tier.put("a", found(10_000))
    tier.put("big", found(50_000))
    assert tier.get("big") is None
    assert tier.get("a") is not None


def test_memory_counts_a_replaced_entry_once() -> None:
    tier = MemoryTier(40_000)
    for _ in range(10):
        tier.put("a", found(10_000))
    assert (len(tier), tier.used) == (1, 11_000)


def test_without_memory_nothing_is_kept() -> None:
    async def both() -> int:
        with scheduler_of(memory=0) as scheduler:
            await run_plan(scheduler, song())
            return len(scheduler.cache.memory)

    assert asyncio.run(both()) == 0


def test_peek_knows_both_tiers(store: DiskStore) -> None:
    async def both() -> None:
        with scheduler_of(store=store) as scheduler:
            result = await run_plan(scheduler, song())
            identity = result.nodes["song"].cache_key
            assert identity is not None
            in_memory = scheduler.cache.peek(identity.digest)
            on_disk = Cache(scheduler.runner, store=store).peek(identity.digest)
            assert in_memory == on_disk
            assert in_memory is not None
            assert in_memory["latents"] == result.outputs["latents"]

    asyncio.run(both())


@pytest.mark.parametrize("durable", [False, True])
def test_what_cannot_be_kept_is_done_only_where_it_need_not_be(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    def full(key: str, outputs: Any, stage: str) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(store, "write", full)
    monkeypatch.setattr(LocalRunner, "durable", durable)
    if durable:
        events, error = told(song(), store=store)
        assert isinstance(error, StorageError)
        assert "no space left" in str(error)
        ended = ends(events)
        assert "finished" not in ended.values()  # what was begun with outputs that would be lost is given up
        assert ended["song"] == "cancelled"
    else:
        assert set(sources(run(song(), store=store)[0]).values()) == {"computed"}


class SlowToKeep(LocalRunner):
    """What comes of `make` is written when something else has run."""

    async def save(self, store: Any, key: str, outputs: Any, stage: str) -> None:
        while stage == "make" and not {"step", "mix"} & set(RAN):
            await asyncio.sleep(0.001)
        await super().save(store, key, outputs, stage)


def test_outputs_are_written_while_the_next_node_works_and_it_ends_after_them(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_stages, "LocalRunner", SlowToKeep)
    plan = plan_of({"a": node("make"), "b": node("step", latents=out("a")), "c": node("mix", parts=[out("b")])})
    events, result = told(plan, store=store)
    assert isinstance(result, Result)
    assert list(ends(events).items()) == [("a", "finished"), ("b", "finished"), ("c", "finished")]


@pytest.mark.parametrize(
    "fails", [node("break", latents=out("a")), node("step", steps=out("a", "latents")), node("nothing", x=out("a"))]
)
def test_what_a_failing_node_was_given_is_kept(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, fails: tuple[str, dict[str, Any], tuple[Any, ...]]
) -> None:
    """Wherever it fails: in its work, at its parameters, or for want of a stage."""

    class Slow(LocalRunner):
        async def save(self, store: Any, key: str, outputs: Any, stage: str) -> None:
            await asyncio.sleep(0.1)
            await super().save(store, key, outputs, stage)

    monkeypatch.setattr(small_stages, "LocalRunner", Slow)
    events, error = told(plan_of({"a": node("make"), "b": fails}), store=store)
    assert isinstance(error, FlowsError)
    assert list(ends(events).items()) == [("a", "finished"), ("b", "failed")]
    assert sources(run(plan_of({"a": node("make")}), store=store)[0]) == {"a": "disk"}


def test_who_waits_for_another_run_s_work_also_begins_before_it_is_written(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_stages, "LocalRunner", SlowToKeep)
    waits = plan_of({"b": node("make"), "c": node("mix", parts=[out("b")])})

    async def both() -> list[Result]:
        with scheduler_of(store=store) as scheduler:
            first = asyncio.ensure_future(run_plan(scheduler, plan_of({"a": node("make")})))
            await asyncio.sleep(0.01)
            return list(await asyncio.gather(first, run_plan(scheduler, waits)))

    first, second = asyncio.run(both())  # The first ends only because the second went on.
    assert sources(first) == {"a": "computed"}
    assert sources(second) == {"b": "memory", "c": "computed"}


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_node_that_worked_with_what_could_not_be_kept_is_given_up(
    store: DiskStore, monkeypatch: pytest.MonkeyPatch, keep_going: bool
) -> None:
    """Wherever it stands by then: at its own end it waits for the nodes it needs."""
    kept = store.write

    def full(key: str, outputs: Any, stage: str) -> None:
        if stage == "make":
            while RAN.count("mix") < 1:
                time.sleep(0.001)
            time.sleep(0.05)  # by now the mix waits
            raise StorageError("no space left")
        kept(key, outputs, stage)

    monkeypatch.setattr(store, "write", full)
    monkeypatch.setattr(LocalRunner, "durable", True)
    plan = plan_of(
        {"a": node("make"), "b": node("mix", parts=[out("a")]), "other": node("step")},
        {"latents": out("b"), "other": out("other")},
    )
    events, result = told(plan, store=store, keep_going=keep_going)
    if keep_going:
        assert list(result.outputs) == ["other"]
        assert list(result.failures) == ["a"]
    else:
        assert isinstance(result, StorageError)
    assert ends(events) == {"a": "failed", "b": "cancelled", "other": "finished"}
