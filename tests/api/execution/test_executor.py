"""The executor: every run ends once, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from acestep_flows.api.execution import executor
from acestep_flows.api.execution.executor import RENEWALS_PER_LEASE, Executor
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.retention import RetentionPolicy
from acestep_flows.audio import tags
from acestep_flows.errors import StorageError, Unavailable
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.values import Latents
from tests.api.toys import AGAIN, FAIL, accept, all_ended, ends, opened, scheduler_over, until, work

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint


def test_a_run_that_ends_while_leases_are_renewed_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as home:
        finish = home.leases.finish

        def slowly(*args: Any, **options: Any) -> bool:
            done = finish(*args, **options)
            time.sleep(2 * home.leases.seconds / RENEWALS_PER_LEASE)  # the lease is renewed meanwhile, and is gone
            return done

        monkeypatch.setattr(home.leases, "finish", slowly)
        run = accept(home, seed=3)
        asyncio.run(work(home))
        assert ends(home, run.id) == ["succeeded"]
        assert "another executor" not in caplog.text


def test_a_run_writes_files_rows_and_events(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run = accept(home, seed=3)
        assert (run.state, run.progress, run.outputs) == (RunState.QUEUED, 0.0, {})
        asyncio.run(work(home, model="these weights"))
        run = home.runs.get(run.id)
        assert (run.state, run.progress, run.error, run.attempt) == (RunState.SUCCEEDED, 1.0, None, 1)
        assert run.seconds is not None
        assert [*run.outputs] == ["audio", "latents", "report", "recipe"]
        assert run.warnings == (
            "output audio: samples were up to 6.0 dB over full scale; these peaks are turned down to fit",
        )

        audio = run.outputs["audio"]
        assert (audio.content_type, audio.kind) == ("audio/flac", "audio")
        content = b"".join(home.artifacts.chunks(audio.digest))
        assert len(content) == audio.bytes
        recipe = tags.read(content).recipe
        assert recipe["inputs"] == dict(run.inputs)
        stored_recipe = json.loads(home.artifacts.open(run.outputs["recipe"].digest).read())
        assert stored_recipe == recipe
        assert stored_recipe["model"] == "these weights"
        assert isinstance(home.assets.value(run.outputs["latents"].asset, "latents"), Latents)
        assert home.assets.value(run.outputs["report"].asset, "report").entries.keys() == {"level"}  # type: ignore[attr-defined]

        nodes = home.runs.nodes(run.id)
        assert [(node.id, node.state) for node in nodes] == [
            ("first", "finished"), ("second", "finished"), ("third", "finished"), ("audio", "finished")
        ]  # fmt: skip
        assert all(node.seconds is not None and node.finished_at is not None for node in nodes)
        events = home.runs.events(run.id)
        assert [event.seq for event in events] == [*range(1, len(events) + 1)]
        assert [event.type for event in events if not event.body["node"]] == ["accepted", "started", "succeeded"]
        progress = [event.body["progress"] for event in events if "progress" in event.body]
        assert progress == sorted(progress)
        assert progress[-1] == 1.0
        half = len(events) // 2
        assert home.runs.events(run.id, after=half) == events[half:]


def test_an_output_is_the_input_of_another_run(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        first = accept(home)
        asyncio.run(work(home))
        latents = {"asset": home.runs.get(first.id).outputs["latents"].asset}
        second = accept(home, AGAIN, source=latents, more=[latents, latents])
        assert second.inputs == {"source": latents, "more": [latents, latents]}
        asyncio.run(work(home))
        outputs = home.runs.get(second.id).outputs
        assert [*outputs] == ["latents", "both.01", "both.02", "report", "recipe"]
        source_value, output_value = (
            home.assets.value(id, "latents") for id in (latents["asset"], outputs["both.02"].asset)
        )
        assert source_value == output_value


@pytest.mark.parametrize(("how", "code"), [("crash", "stage_failed"), ("input", "invalid_input")])
def test_a_failing_node_fails_its_run_alone(tmp_path: Path, how: str, code: str) -> None:
    with opened(tmp_path) as home:
        bad, good = accept(home, FAIL, mode=how).id, accept(home)
        asyncio.run(work(home))
        failed = home.runs.get(bad)
        assert failed.state is RunState.FAILED
        assert failed.error is not None
        assert (failed.error["code"], failed.error["node"]) == (code, "bad")
        assert failed.outputs == {}
        assert home.runs.nodes(bad)[0].state == "failed"
        assert home.runs.get(good.id).state is RunState.SUCCEEDED
        assert ends(home, bad) == ["failed"]


def test_a_cancelled_run_stops_at_a_step_and_frees_its_slot(tmp_path: Path) -> None:
    async def stop(home: Home) -> None:
        with scheduler_over(home) as scheduler:
            executor = Executor(home, scheduler, slots=1, poll=0.02)
            task = asyncio.create_task(executor.run())
            await until(lambda: any(node.step for node in home.runs.nodes(slow.id)))
            assert home.runs.cancel(slow.id).cancel_requested
            assert home.runs.cancel(waiting.id).state is RunState.CANCELLED
            await all_ended(home)
            await executor.drain()
            await task

    with opened(tmp_path) as home:
        slow = accept(home, steps=5000, pause=0.01)
        waiting, last = accept(home, seed=1), accept(home, seed=2)
        begun = time.monotonic()
        asyncio.run(stop(home))
        assert time.monotonic() - begun < 20
        run = home.runs.get(slow.id)
        assert run.state is RunState.CANCELLED
        assert run.error is not None
        assert run.error["code"] == "cancelled"
        assert 0 < run.progress < 1
        assert home.runs.get(last.id).state is RunState.SUCCEEDED
        assert [ends(home, each.id) for each in (slow, waiting, last)] == [["cancelled"], ["cancelled"], ["succeeded"]]
        assert home.runs.cancel(last.id).state is RunState.SUCCEEDED


def test_saved_states_are_removed_with_their_run(tmp_path: Path) -> None:
    """The running stage saves a state under the key of its call, as the processes of a pool do."""

    async def save_and(end: Callable[[Executor, str], Awaitable[None]], home: Home, id: str) -> None:
        def steps() -> int:
            events = home.runs.events(id, limit=1000)
            return sum(event.type == "progress" and event.body["node"] == "second" for event in events)

        before = steps()
        with scheduler_over(home) as scheduler:
            executor = Executor(home, scheduler, poll=0.02)
            task = asyncio.create_task(executor.run())
            await until(lambda: steps() > before)
            (work,) = executor._active.values()
            assert work.run is not None
            (key,) = work.run.unfinished
            home.states.root.mkdir(exist_ok=True)
            (home.states.root / f"{key}.state").write_bytes(b"so far")
            await end(executor, id)
            await executor.drain()
            await task

    def saved(home: Home) -> int:
        return len(list(home.states.root.iterdir()))

    with opened(tmp_path) as home:

        async def cancel(executor: Executor, id: str) -> None:
            home.runs.cancel(id)
            await all_ended(home)

        async def drain(executor: Executor, id: str) -> None:
            await executor.drain(grace=0.0)

        run = accept(home, steps=5000, pause=0.01).id
        asyncio.run(save_and(drain, home, run))
        assert (home.runs.get(run).state, saved(home)) == (RunState.QUEUED, 1)
        asyncio.run(save_and(cancel, home, run))
        assert (home.runs.get(run).state, saved(home)) == (RunState.CANCELLED, 0)


def test_deadlines_end_running_and_queued_runs(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        working = accept(home, how={"deadline": 0.5, "priority": 1}, steps=5000, pause=0.01)
        waiting = accept(home, how={"deadline": 0.3})
        asyncio.run(work(home, slots=1))
        for run in (home.runs.get(working.id), home.runs.get(waiting.id)):
            assert run.state is RunState.FAILED
            assert run.error is not None
            assert run.error["code"] == "deadline_exceeded"
        assert home.runs.get(waiting.id).started_at is None


def test_a_deadline_counts_the_time_in_the_queue_and_says_what_was_asked(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        late = accept(home, how={"deadline": 3.0}, steps=5000, pause=0.01)
        time.sleep(0.5)  # nobody has taken it
        asyncio.run(work(home, slots=1))
        record = home.runs.get(late.id)
        assert record.error is not None
        assert record.started_at is not None
        assert record.error["message"] == "the run was stopped 3 s after it was submitted, its deadline"


def test_the_highest_priority_goes_first(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        runs = [accept(home, how={"priority": priority}, seed=priority) for priority in (0, 5, 1, 5)]
        asyncio.run(work(home, slots=1))
        started = sorted(runs, key=lambda run: home.runs.get(run.id).started_at or 0)
        assert [run.id for run in started] == [runs[at].id for at in (1, 3, 2, 0)]


def test_a_drained_executor_gives_its_runs_back(tmp_path: Path) -> None:
    async def drain(home: Home) -> None:
        with scheduler_over(home) as scheduler:
            executor = Executor(home, scheduler, poll=0.02)
            task = asyncio.create_task(executor.run())
            await until(lambda: home.runs.nodes(run.id) and home.runs.nodes(run.id)[1].step)
            await executor.drain(grace=0.05)
            await task

    with opened(tmp_path) as home:
        run = accept(home, steps=60, pause=0.02)
        asyncio.run(drain(home))
        assert home.runs.get(run.id).state is RunState.QUEUED
        asyncio.run(work(home))
        done = home.runs.get(run.id)
        assert (done.state, done.attempt) == (RunState.SUCCEEDED, 2)
        states = {node.id: node.state for node in home.runs.nodes(run.id)}
        assert set(states.values()) == {"finished"}  # the first node too, although it came from the disk cache
        types = [event.type for event in home.runs.events(run.id) if not event.body["node"]]
        assert types == ["accepted", "started", "continued", "succeeded"]


def test_a_run_that_no_plan_can_be_made_of_fails(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run = accept(home)
        with home.database.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET content = '{}'")
        asyncio.run(work(home))
        error = home.runs.get(run.id).error
        assert error is not None
        assert error["code"] == "invalid_input"


def test_a_database_that_is_full_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = Counter({"record": 3, "finish": 2, "claim_several": 1, "renew": 1})

    def refuse(name: str) -> None:
        whole = getattr(Leases, name)

        def sometimes(*args: Any, **kwargs: Any) -> Any:
            if refusals[name] > 0:
                refusals[name] -= 1
                raise StorageError("database or disk is full")
            return whole(*args, **kwargs)

        monkeypatch.setattr(Leases, name, sometimes)

    for name in refusals:
        refuse(name)
    with opened(tmp_path) as home:
        run = accept(home, steps=10, pause=0.02)
        asyncio.run(work(home))
        assert refusals.total() == 0
        done = home.runs.get(run.id)
        assert (done.state, done.attempt) == (RunState.SUCCEEDED, 1)
        assert ends(home, run.id) == ["succeeded"]
        finished = [event.body["node"] for event in home.runs.events(run.id) if event.type == "finished"]
        assert finished == ["first", "second", "third", "audio"]


def test_background_work_continues_after_any_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.api.execution.executor.RENEWALS_PER_LEASE", 50)

    async def until_done(home: Home) -> Executor:
        with scheduler_over(home) as scheduler:
            executor = Executor(home, scheduler, poll=0.02, retention=RetentionPolicy())
            task = asyncio.create_task(executor.run())
            await all_ended(home)
            await until(lambda: len(executor.failures) == 4)
            assert not executor.ended
            await executor.drain()
            await task
        return executor

    with opened(tmp_path) as home:
        for name in ("claim_several", "renew", "expire_queued"):
            fail_once(home.leases, name, RuntimeError("a driver's own error"), monkeypatch)
        fail_once(home.artifacts, "collect", OSError("503, slow down"), monkeypatch)
        run = accept(home)
        executor = asyncio.run(until_done(home))
        assert executor.failures == {"claim": 1, "renew": 1, "expire": 1, "sweep": 1}
        assert executor.ended
        assert home.runs.get(run.id).state is RunState.SUCCEEDED


@pytest.mark.parametrize("failures", [2, 99])
@pytest.mark.parametrize("what", ["begin", "put_all"])
def test_a_store_that_cannot_be_reached_for_a_while_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, failures: int
) -> None:
    """The database as the run goes on, the object store as its outputs are kept. If it stays away, the run fails."""
    monkeypatch.setattr(executor, "COMPUTE_PAUSES", (0.01,) * 4)
    with opened(tmp_path) as home:
        store: Any = home.leases if what == "begin" else home.artifacts
        reached, calls = getattr(store, what), 0

        def sometimes(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls <= failures:
                raise Unavailable("the store cannot be reached")
            return reached(*args, **options)

        monkeypatch.setattr(store, what, sometimes)
        run = accept(home, seed=3)
        goes_on = what == "begin"
        if goes_on:
            claimed = home.leases.claim("another")
            assert claimed is not None
            home.leases.release(claimed.lease)
        asyncio.run(work(home))
        lasting = failures == 99
        assert ends(home, run.id) == ["failed" if lasting else "succeeded"]
        events = [event.type for event in home.runs.events(run.id) if not event.body["node"]]
        begun = ["started", "continued"] if goes_on else ["started"]
        assert events == ["accepted", *begun, "failed" if lasting else "succeeded"]
        ended = home.runs.get(run.id)
        assert ended.attempt == len(begun)
        if lasting:
            assert ended.error is not None
            assert ended.error["code"] == "unavailable"
        else:
            assert {node.state for node in home.runs.nodes(run.id)} == {"finished"}


def fail_once(store: object, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, errors = getattr(store, name), [error]

    def once(*args: Any, **kwargs: Any) -> Any:
        if errors:
            raise errors.pop()
        return whole(*args, **kwargs)

    monkeypatch.setattr(store, name, once)


def test_a_real_song_and_what_is_made_of_its_latents(tmp_path: Path, small: Checkpoint) -> None:
    from acestep_flows.api.execution.accepted_run import snapshot
    from acestep_flows.graph.checking.check import checked
    from acestep_flows.graph.content import fingerprint
    from acestep_flows.graph.execution.cache import Cache
    from acestep_flows.graph.execution.disk_cache import DiskStore
    from acestep_flows.graph.execution.scheduler import Scheduler
    from acestep_flows.graph.library import Library
    from acestep_flows.graph.planning.plan import Plan
    from acestep_flows.runtime.local import LocalRunner
    from acestep_flows.stages.registry import stages

    library, plan = Library(working=None), Plan("", "", {}, {}, {})

    def request(home: Home, graph: str, **inputs: Any) -> str:
        nonlocal plan
        scope = checked(library.load(graph), stages(), library.nested)
        plan, new = snapshot(scope, inputs, home.assets.value)
        return home.runs.accept(new)[0].id

    async def both(home: Home) -> None:
        with LocalRunner(small) as runner:
            scheduler = Scheduler(stages(), runner, Cache(runner, store=DiskStore(home.results)))
            executor = Executor(home, scheduler, poll=0.02)
            task = asyncio.create_task(executor.run())
            song = request(home, "text2music", tags="piano", duration=1.0, steps=2)
            await all_ended(home, 120)
            outputs = home.runs.get(song).outputs
            assert [*outputs] == ["audio", "latents", "report", "recipe"]
            alone = await run_plan(Scheduler(stages(), runner), plan)
            stored_recipe = json.loads(home.artifacts.open(outputs["recipe"].digest).read())
            assert {name: fingerprint(value) for name, value in alone.outputs.items()} == stored_recipe["outputs"]
            again = request(home, "decode", latents={"asset": outputs["latents"].asset})
            variation = request(
                home, "audio2audio", reference={"asset": outputs["audio"].asset}, tags="violin", steps=2
            )
            await all_ended(home, 120)
            assert home.runs.get(again).state is RunState.SUCCEEDED
            assert home.runs.get(variation).error is None
            await executor.drain()
            await task

    with opened(tmp_path, lease=20.0) as home:
        asyncio.run(both(home))
