"""Retention: what is removed by age and bytes; nothing that a run needs is removed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from acestep_flows.api.execution.executor import Executor
from acestep_flows.api.store import retention
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import NewOutput, RunState
from acestep_flows.api.store.retention import DAY, RetentionPolicy, SweepResult, oldest_active_start, sweep
from acestep_flows.errors import NotFound, StorageError
from acestep_flows.graph.execution.disk_cache import DiskStore
from tests.api.store.clock import new
from tests.api.toys import accept, opened, scheduler_over, until

EVERYTHING = RetentionPolicy(None, None, None, None)


def upload(home: Home, content: bytes) -> str:
    return home.assets.add(home.artifacts.put(content), "audio", content_type="t", file_name="f").id


def finished(home: Home, content: bytes, name: str = "audio") -> str:
    run = home.runs.accept(new(priority=1))[0].id
    claimed = home.leases.claim("e")
    assert claimed is not None
    assert claimed.lease.run == run
    output = NewOutput(name, "audio", "t", "f", home.artifacts.put(content))
    assert home.leases.finish(claimed.lease, RunState.SUCCEEDED, outputs=[output])
    return run


def later(home: Home, days: float) -> float:
    return home.runs.list().runs[-1].created_at + days * DAY


def test_files_expire_by_age_and_their_records_stay(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run, asset = finished(home, b"song"), upload(home, b"take")
        assert sweep(home, RetentionPolicy(), later(home, 29), grace=0) == SweepResult()
        assert sweep(home, RetentionPolicy(files=DAY), later(home, 2), grace=0) == SweepResult(files=2, bytes=8)
        output = home.runs.get(run).outputs["audio"]
        assert output.expired
        for expired in (asset, output.asset):
            with pytest.raises(NotFound):
                home.assets.get(expired)
        with pytest.raises(NotFound):
            home.artifacts.open(output.digest)
        assert sweep(home, RetentionPolicy(files=DAY), later(home, 2), grace=0) == SweepResult()


def test_saved_states_are_removed_if_no_run_is_as_old(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        home.states.root.mkdir()
        for name, at in (("left", 100.0), ("mine", 5000.0)):
            path = home.states.root / f"{name}.state"
            path.write_bytes(b"x")
            os.utime(path, (at, at))
        home.runs.accept(new())
        claimed = home.leases.claim("e")
        assert claimed is not None
        with home.database.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET started_at = 4000")
        assert sweep(home, EVERYTHING, grace=1000).states == 1
        assert [path.name for path in home.states.root.iterdir()] == ["mine.state"]
        assert home.leases.finish(claimed.lease, RunState.SUCCEEDED)
        assert sweep(home, EVERYTHING, grace=1000).states == 1


def test_old_runs_are_deleted(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        run, waiting = finished(home, b"song"), home.runs.accept(new())[0].id
        assert sweep(home, RetentionPolicy(runs=DAY, files=None), later(home, 2), grace=0) == SweepResult(
            runs=1, bytes=4
        )
        with pytest.raises(NotFound):
            home.runs.get(run)
        assert home.runs.events(run) == ()
        assert home.runs.get(waiting).state is RunState.QUEUED


def test_many_old_runs_are_deleted_in_small_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 3)
    most: list[int] = []
    with opened(tmp_path) as home:
        for _ in range(10):
            home.runs.cancel(home.runs.accept(new())[0].id)
        write = home.database.write

        @contextlib.contextmanager
        def counting() -> Iterator[Connection]:
            before = sum(home.runs.counts().values())
            with write() as connection:
                yield connection
            most.append(before - sum(home.runs.counts().values()))

        monkeypatch.setattr(home.database, "write", counting)
        assert sweep(home, RetentionPolicy(runs=DAY), later(home, 2)).runs == 10
        assert max(most) == 3


def test_inputs_of_active_runs_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        source = home.runs.get(finished(home, b"song")).outputs["audio"].asset
        sent = upload(home, b"take")
        run = home.runs.accept(new(assets=[source, sent]))[0].id
        everything = RetentionPolicy(files=0, bytes=0, nodes=0, runs=0)
        assert sweep(home, everything, later(home, 1000), grace=0) == SweepResult()
        assert home.assets.get(source).bytes == 4
        home.runs.cancel(run)
        swept = sweep(home, everything, later(home, 1000), grace=0)
        assert (swept.runs, swept.bytes) == (2, 8)


def test_the_oldest_files_expire_first(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        first, second, third = (finished(home, content) for content in (b"aaaa", b"bbbb", b"cccc"))
        same = upload(home, b"aaaa")
        assert sweep(home, RetentionPolicy(bytes=12), later(home, 1), grace=0) == SweepResult()
        swept = sweep(home, RetentionPolicy(bytes=8), later(home, 1), grace=0)
        # The first output expires, but an upload keeps its file, so the second one expires too.
        assert swept == SweepResult(files=2, bytes=4)
        expired = [home.runs.get(run).outputs["audio"].expired for run in (first, second, third)]
        assert expired == [True, True, False]
        assert home.assets.get(same).bytes == 4


def test_a_file_just_put_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        home.runs.accept(new())
        blob = home.artifacts.put(b"to be referred to soon")
        assert sweep(home, RetentionPolicy(files=0, bytes=0)) == SweepResult()
        assert home.artifacts.open(blob.digest).read()


def test_no_finished_node_is_evicted_under_a_run(tmp_path: Path) -> None:
    """With a small cache, a long run beside many short ones: its finished nodes are not computed again."""
    log = tmp_path / "log"

    def results(home: Home, budget: int) -> DiskStore:
        return DiskStore(home.results, budget, partial(oldest_active_start, home.database))

    def entries(home: Home) -> list[int]:
        return [path.stat().st_size for path in home.results.glob("??/*.safetensors")]

    async def some(home: Home, budget: int, over: Any) -> None:
        with scheduler_over(home, store=results(home, budget)) as scheduler:
            executor = Executor(home, scheduler, slots=2, poll=0.02)
            task = asyncio.create_task(executor.run())
            await until(over)
            await executor.drain()
            await task

    with opened(tmp_path) as home:

        def ended(runs: list[str]) -> bool:
            return all(home.runs.get(run).state.ended for run in runs)

        first = [accept(home, seed=0).id]
        asyncio.run(some(home, 1 << 30, lambda: ended(first)))
        budget = 3 * max(entries(home))
        long = accept(home, seed=1, steps=10_000, pause=0.02, log=str(log), how={"priority": 9}).id
        short = [accept(home, seed=seed).id for seed in range(2, 10)]
        asyncio.run(some(home, budget, lambda: ended(short)))
        assert home.runs.get(long).state is RunState.QUEUED  # it was released and has only its finished nodes
        assert sum(entries(home)) > budget
        done = [node.id for node in home.runs.nodes(long) if node.state == "finished"]
        assert done == ["first"]

        def event_types(node: str) -> list[str]:
            return [event.type for event in home.runs.events(long) if event.body["node"] == node]

        asyncio.run(some(home, budget, lambda: event_types("second").count("started") == 2))
        assert event_types("first")[-1] == "cached"
        home.runs.cancel(long)
        again = [accept(home, seed=20).id]
        asyncio.run(some(home, budget, lambda: ended(again)))
        assert len(entries(home)) < 10, "with no run at work the budget holds again"


def test_all_nodes_are_needed_if_the_table_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise StorageError("gone")

    with opened(tmp_path) as home:
        assert oldest_active_start(home.database) is None
        monkeypatch.setattr(home.database, "read", fail)
        assert oldest_active_start(home.database) == 0


def test_finished_nodes_go_unless_a_run_is_at_work(tmp_path: Path) -> None:
    with opened(tmp_path) as home:
        entry = home.results / "ab" / "abc.safetensors"
        entry.parent.mkdir(parents=True)
        entry.write_bytes(b"")
        home.runs.accept(new())
        claimed = home.leases.claim("e")
        assert claimed is not None
        started = claimed.record.started_at
        assert started is not None
        os.utime(entry, (started + 1, started + 1))
        assert sweep(home, RetentionPolicy(nodes=DAY), started + 9 * DAY).nodes == 0
        home.leases.finish(claimed.lease, RunState.SUCCEEDED)
        assert sweep(home, EVERYTHING, started + 9 * DAY) == SweepResult()
        assert sweep(home, RetentionPolicy(nodes=DAY), started + 9 * DAY).nodes == 1
        assert not entry.exists()
