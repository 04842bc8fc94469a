"""Executors of several processes on one table: each run ends once, and nobody waits for ever."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import Leases, RunChanges
from acestep_flows.api.store.records import Blob, ClaimedRun, NewOutput, NodeRecord, QueueLimits, RunState
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import EVENTS, RUNS
from acestep_flows.api.store.totals import fold_totals
from acestep_flows.api.store.usage import Usage
from tests.api.store.clock import Clock, new

NODES = [NodeRecord("a", "make"), NodeRecord("b", "step")]
DONE = RunChanges(
    [("finished", {"node": "a", "time": 1.0})], {0: NodeRecord("a", "make", "finished", seconds=2.0)}, 0.5
)
RUNS_IN_ALL = 120


def test_one_claim_gives_owners_turns(database: Database, clock: Clock) -> None:
    table, leases = RunTable(database, clock), Leases(database, 20.0, clock)
    for owner in ("many", "many", "many", "few", "many"):
        table.accept(new(owner=owner))
    claimed = leases.claim_several("e", 3)
    assert [run.record.owner for run in claimed] == ["many", "few", "many"]
    assert [run.record.attempt for run in claimed] == [1, 1, 1]
    assert len(leases.claim_several("f", 9)) == 2
    assert leases.claim_several("f", 9) == []


def test_a_claim_ends_what_must_not_run_and_takes_the_rest(database: Database, clock: Clock) -> None:
    table, leases = RunTable(database, clock), Leases(database, 20.0, clock)
    late, good = table.accept(new(deadline=5))[0], table.accept(new())[0]
    clock.now += 6
    assert [run.lease.run for run in leases.claim_several("e", 8)] == [good.id]
    assert table.get(late.id).state is RunState.FAILED


def test_a_claim_passes_over_what_another_executor_holds(database: Database, url: str, clock: Clock) -> None:
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one writer")
    table, leases = RunTable(database, clock), Leases(database, 20.0, clock)
    first, second = table.accept(new())[0], table.accept(new())[0]
    other = Database(url)
    with other.write_beside() as connection:
        connection.execute(select(RUNS.c.id).where(RUNS.c.id == first.id).with_for_update())
        assert [run.lease.run for run in leases.claim_several("e", 5)] == [second.id]
    assert [run.lease.run for run in leases.claim_several("e", 5)] == [first.id]
    other.close()


def test_a_writer_that_wants_to_be_alone_is(database: Database, url: str) -> None:
    """Neither kind of writer runs beside the one of `write`."""
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one writer")
    entered: list[str] = []

    def enter(name: str, open_transaction: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            with open_transaction():  # type: ignore[attr-defined]
                entered.append(name)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with database.write_beside():
        beside = enter("beside", database.write_beside)
        beside.join(10)
        alone = enter("alone", database.write)
        alone.join(0.3)
        assert entered == ["beside"]
    alone.join(10)
    with database.write():
        waiting = enter("later", database.write_beside)
        waiting.join(0.3)
        assert entered == ["beside", "alone"]
    waiting.join(10)
    assert entered == ["beside", "alone", "later"]


def test_nothing_is_lost_or_doubled_under_many_writers(url: str, tmp_path: Path) -> None:
    """Four executors, callers that accept and cancel, sweeps: everything at once, on connections of their own."""
    home = Database(url)
    faults: list[BaseException] = []
    stop = threading.Event()

    def worker(work: Callable[[Database, random.Random], bool], seed: int) -> threading.Thread:
        def run() -> None:
            mine, draw = Database(url), random.Random(seed)
            try:
                while not stop.is_set() and work(mine, draw):
                    pass
            except BaseException as error:  # shown by the test
                faults.append(error)
            finally:
                mine.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def execute(mine: Database, draw: random.Random) -> bool:
        leases = Leases(mine, 60.0)
        name = f"e{threading.get_ident()}"
        claimed = leases.claim_several(name, draw.randint(1, 6))

        def finish(run: ClaimedRun) -> None:
            leases.begin(run.lease, NODES)
            outputs = [NewOutput("audio", "audio", "t", "f", Blob("0" * 64, 5), {"seconds": 2.0})]
            leases.finish(run.lease, RunState.SUCCEEDED, changes=DONE, outputs=outputs)

        leases.renew(name, 4, [run.lease for run in claimed])
        leases.record({run.lease: DONE for run in reversed(claimed)})
        threads = [threading.Thread(target=finish, args=(run,)) for run in claimed]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return True

    def accept(mine: Database, draw: random.Random) -> bool:
        run, _ = RunTable(mine).accept(new(owner=draw.choice("abc")), QueueLimits(queued=RUNS_IN_ALL))
        if draw.random() < 0.2:
            RunTable(mine).cancel(run.id)
        return sum(RunTable(mine).counts().values()) < RUNS_IN_ALL

    def sweep(mine: Database, draw: random.Random) -> bool:
        fold_totals(mine)
        Artifacts(mine, tmp_path / "files").put(b"%d" % draw.randint(0, 3))
        Leases(mine).expire_queued()
        return not stop.wait(0.02)

    threads = [worker(accept, 1), worker(accept, 2)]
    executors = [worker(execute, 10 + at) for at in range(4)] + [worker(sweep, 20)]
    for thread in threads:
        thread.join(120)
    table = RunTable(home)
    for _ in range(1200):
        counts = table.counts()
        if faults or counts[RunState.QUEUED] + counts[RunState.RUNNING] == 0:
            break
        stop.wait(0.1)
    stop.set()
    for thread in executors:
        thread.join(60)
    assert faults == []
    assert counts[RunState.SUCCEEDED] + counts[RunState.CANCELLED] == sum(counts.values()) >= RUNS_IN_ALL
    with home.read() as connection:
        events = connection.execute(select(EVENTS).order_by(EVENTS.c.run, EVENTS.c.seq)).all()
    assert sorted(event.number for event in events) == [*range(1, len(events) + 1)]
    by_run: dict[str, list[str]] = {}
    for event in events:
        by_run.setdefault(event.run, []).append(event.type)
        assert event.seq == len(by_run[event.run])
    assert all(Counter(types)["succeeded"] + Counter(types)["cancelled"] == 1 for types in by_run.values())
    assert all(Counter(types)["started"] <= 1 for types in by_run.values())
    assert sum(owner.runs for owner in Usage(home).by_owner()) == len(by_run)
    home.close()
