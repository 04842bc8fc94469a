"""Leases: order, fencing, giving up; every order of events ends every run once."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acestep_flows.api.store.claims import AGEING_SECONDS, STRIKES
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import ORPHANED_LEASES, Leases, RunChanges
from acestep_flows.api.store.records import ENDED, Blob, ClaimedRun, Lease, NewOutput, NodeRecord, RunState
from acestep_flows.api.store.runs import RunTable
from acestep_flows.errors import InputError, StageError
from tests.api.store.clock import Clock, new
from tests.api.store.with_tables import FILE, home_with_tables

NODES = (NodeRecord("a", "make"), NodeRecord("b", "step"))


def claim(leases: Leases, executor: str = "e") -> ClaimedRun:
    claimed = leases.claim(executor)
    assert claimed is not None
    return claimed


def test_a_claimed_run_is_not_claimed_again_until_its_lease_expires(
    table: RunTable, leases: Leases, clock: Clock
) -> None:
    run, _ = table.accept(new(content={"graph": {"x": 1}}))
    first = claim(leases)
    assert (first.lease, first.content) == (Lease(run.id, "e", 1), {"graph": {"x": 1}})
    assert first.record.state is RunState.RUNNING
    assert leases.claim("f") is None
    clock.now += 15
    assert leases.renew("e", 4, [first.lease]) == {run.id}
    clock.now += 15
    assert leases.claim("f") is None
    clock.now += 6
    assert leases.claim("f", busy=[run.id]) is None
    second = claim(leases, "f")
    assert second.lease == Lease(run.id, "f", 2)
    assert second.record.started_at == first.record.started_at


def test_priority_and_waiting_time_order_the_queue(table: RunTable, leases: Leases, clock: Clock) -> None:
    """A steady stream of urgent runs delays a run of low priority for a while only."""
    low, _ = table.accept(new(priority=-1))
    passed_over = 0
    for _ in range(100):
        table.accept(new(priority=4))
        clock.now += AGEING_SECONDS / 4
        lease = claim(leases).lease
        if lease.run == low.id:
            break
        passed_over += 1
        assert leases.finish(lease, RunState.SUCCEEDED)
    assert 18 <= passed_over <= 21  # five steps of priority are five minutes, and four come in each


def test_short_runs_start_before_long_ones(table: RunTable, leases: Leases, clock: Clock) -> None:
    hours = [table.accept(new(expected_seconds=3600))[0].id for _ in range(2)]
    clock.now += 1800
    short, _ = table.accept(new(expected_seconds=30))
    lease = claim(leases).lease
    assert lease.run == short.id
    assert leases.finish(lease, RunState.SUCCEEDED)
    clock.now += 1800
    table.accept(new(expected_seconds=30))
    assert claim(leases).lease.run == hours[0]  # it has waited as long as it takes


def test_owners_get_equal_numbers_of_running_runs(table: RunTable, leases: Leases, clock: Clock) -> None:
    for _ in range(200):
        table.accept(new(owner="many", priority=9))
    held = [claim(leases).lease for _ in range(3)]
    few = [table.accept(new(owner="few"))[0].id for _ in range(4)]
    assert [claim(leases).lease.run for _ in range(3)] == few[:3]
    assert leases.finish(held[0], RunState.SUCCEEDED)
    assert table.get(claim(leases).lease.run).owner == "many"
    clock.now += 21  # runs of dead executors do not count as running
    assert table.get(claim(leases).lease.run).owner == "many"


def test_a_lost_lease_writes_nothing(table: RunTable, leases: Leases, clock: Clock) -> None:
    run, _ = table.accept(new())
    old = claim(leases).lease
    assert leases.begin(old, NODES) == NODES
    clock.now += 21
    now = claim(leases).lease  # even the same executor
    before = table.get(run.id), table.nodes(run.id), table.events(run.id)
    body = {"type": "started", "node": "a", "time": clock.now}
    changes = RunChanges([("started", body)], {0: NodeRecord("a", "make", "finished")}, 0.9)
    assert leases.renew("e", 1, [old]) == set()
    assert leases.begin(old, NODES) is None
    assert leases.record({old: changes}) == set()
    assert not leases.finish(old, RunState.SUCCEEDED, changes=changes)
    assert not leases.release(old)
    assert (table.get(run.id), table.nodes(run.id), table.events(run.id)) == before
    assert leases.record({old: changes, now: changes}) == {now}
    assert leases.finish(now, RunState.SUCCEEDED)
    assert not leases.finish(now, RunState.FAILED)
    assert leases.record({now: changes}) == set()


def test_nodes_and_events_are_as_recorded(table: RunTable, leases: Leases, clock: Clock) -> None:
    run, _ = table.accept(new())
    lease = claim(leases).lease
    leases.begin(lease, NODES)
    error = {"code": "x", "message": "y"}
    done = NodeRecord("a", "make", "finished", 3, 3, 1.5, clock.now, clock.now)
    bad = NodeRecord("b", "step", "failed", 1, 3, None, clock.now, clock.now, error)
    body = {"type": "finished", "node": "a", "time": clock.now, "progress": 0.5}
    assert leases.record({lease: RunChanges([("finished", body)], {0: done, 1: bad}, 0.5)}) == {lease}
    assert table.nodes(run.id) == (done, bad)
    assert table.get(run.id).progress == 0.5
    assert [(event.seq, event.type) for event in table.events(run.id)] == [
        (1, "accepted"),
        (2, "started"),
        (3, "finished"),
    ]
    assert table.events(run.id)[-1].body == body

    clock.now += 21
    again = claim(leases, "f").lease
    standing = leases.begin(again, NODES)
    assert standing == (done, NodeRecord("b", "step", "waiting", None, None, None, None, clock_finish(bad), None))


def test_nodes_are_written_with_the_first_changes(table: RunTable, leases: Leases, clock: Clock) -> None:
    """A run that was never begun before needs no write of its own for its nodes."""
    run, quick = (table.accept(new())[0] for _ in range(2))
    lease, other = claim(leases).lease, claim(leases).lease
    started = NodeRecord("b", "step", "started", 1, 9)
    leases.record({lease: RunChanges([], {0: NODES[0], 1: started}, 0.1)})
    assert table.nodes(run.id) == (NODES[0], started)
    leases.record({lease: RunChanges([], {0: NodeRecord("a", "make", "finished", seconds=2.0)}, 0.5)})
    clock.now += 21
    again = claim(leases).lease
    assert leases.begin(again, NODES) == (NodeRecord("a", "make", "finished", seconds=2.0), NODES[1])
    done = NodeRecord("a", "make", "cached"), NodeRecord("b", "step", "finished", seconds=1.0)
    clock.now -= 21
    assert leases.finish(other, RunState.SUCCEEDED, changes=RunChanges([], dict(enumerate(done)), 0.9))
    assert table.nodes(quick.id) == done


def test_nodes_of_a_run_that_fails_are_closed_with_it(table: RunTable, leases: Leases) -> None:
    run, _ = table.accept(new())
    changes = RunChanges([], {0: NodeRecord("a", "make", "failed"), 1: NODES[1]}, 0.1)
    assert leases.finish(claim(leases).lease, RunState.FAILED, changes=changes, error=InputError("x"))
    assert [node.state for node in table.nodes(run.id)] == ["failed", "cancelled"]


def clock_finish(node: NodeRecord) -> float | None:
    return node.finished_at


def test_the_end_of_a_run_is_one_transaction(table: RunTable, leases: Leases, clock: Clock) -> None:
    run, _ = table.accept(new(owner="me", warnings=["known"]))
    lease = claim(leases).lease
    outputs = [NewOutput("latents", "latents", "t", "l.st", Blob("0" * 64, 5), {"seconds": 2}),
               NewOutput("audio", "audio", "t", "a.flac", Blob("1" * 64, 6))]  # fmt: skip
    clock.now += 5
    assert leases.finish(lease, RunState.SUCCEEDED, outputs=outputs, warnings=["known", "loud"])
    ended = table.get(run.id, "me")
    assert [*ended.outputs] == ["latents", "audio"]
    assert (ended.progress, ended.warnings) == (1.0, ("known", "loud"))
    assert ended.seconds == pytest.approx(5, abs=0.01)
    last = table.events(run.id)[-1]
    assert (last.type, last.body["progress"]) == ("succeeded", 1.0)
    assert table.list().runs == (ended,)


@pytest.mark.parametrize(
    ("error", "node"),
    [(StageError("takes[1]", "sample", ValueError("x")), "takes[1]"), (InputError("y", where="node b, span"), "b"),
     (InputError("z", where="tags"), None)],
)  # fmt: skip
def test_an_error_names_its_node(
    table: RunTable, leases: Leases, error: StageError | InputError, node: str | None
) -> None:
    run, _ = table.accept(new())
    assert leases.finish(claim(leases).lease, RunState.FAILED, error=error)
    stored_error = table.get(run.id).error
    assert stored_error is not None
    assert stored_error.get("node") == node
    assert (stored_error["code"], stored_error["message"]) == (error.code, str(error))
    assert table.events(run.id)[-1].body["error"] == stored_error


def test_a_run_whose_executors_die_is_given_up(table: RunTable, leases: Leases, clock: Clock) -> None:
    run, _ = table.accept(new())
    healthy, _ = table.accept(new())
    for attempt in range(1, STRIKES + 1):
        lease = claim(leases).lease
        assert lease == Lease(run.id, "e", attempt)
        leases.begin(lease, NODES)
        clock.now += 21
    assert claim(leases).lease.run == healthy.id
    given_up = table.get(run.id)
    assert [node.state for node in table.nodes(run.id)] == ["cancelled", "cancelled"]
    assert given_up.state is RunState.FAILED
    assert given_up.error is not None
    assert given_up.error["code"] == "lost_process"


def test_a_run_that_progresses_is_not_given_up(table: RunTable, leases: Leases, clock: Clock) -> None:
    run, _ = table.accept(new())
    for _ in range(3 * STRIKES):
        lease = claim(leases).lease
        leases.begin(lease, NODES)
        assert leases.record({lease: RunChanges([], {0: NodeRecord("a", "make", "finished")}, 0.5)}) == {lease}
        clock.now += 21
    for _ in range(3 * STRIKES):  # released runs are not given up either
        assert leases.release(claim(leases).lease)
    assert table.get(run.id).state is RunState.QUEUED


def test_deadlines_end_runs_that_wait(table: RunTable, leases: Leases, clock: Clock) -> None:
    late, _ = table.accept(new(deadline=5))
    later, _ = table.accept(new(deadline=50))
    assert leases.expire_queued() == 0
    clock.now += 6
    assert leases.expire_queued() == 1
    assert table.get(late.id).state is RunState.FAILED
    assert claim(leases).lease.run == later.id
    clock.now += 60
    assert leases.claim("e") is None  # its executor died, and its deadline has passed
    error = table.get(later.id).error
    assert error is not None
    assert error["code"] == "deadline_exceeded"


MOVES = st.sampled_from(["accept", "claim", "finish", "fail", "release", "cancel", "wait", "renew", "expire"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(MOVES, st.integers(0, 3)), max_size=40))
def test_every_run_ends_once_in_any_order_of_events(moves: list[tuple[str, int]]) -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        database = Database.file(home_with_tables(Path(folder)) / FILE)
        table, leases = RunTable(database, clock), Leases(database, 20.0, clock)
        runs = [table.accept(new(deadline=200))[0].id]
        held: list[Lease] = []
        for move, number in moves:
            lease = held[number % len(held)] if held else None
            match move:
                case "accept":
                    runs.append(table.accept(new(priority=number))[0].id)
                case "claim":
                    if (claimed := leases.claim(f"e{number}")) is not None:
                        held.append(claimed.lease)
                case "cancel":
                    table.cancel(runs[number % len(runs)])
                case "wait":
                    clock.now += 15
                case "expire":
                    leases.expire_queued()
                case "renew":
                    leases.renew("e0", 1, held)
                case _ if lease is None:
                    pass
                case "finish":
                    leases.finish(lease, RunState.SUCCEEDED)
                case "fail":
                    leases.finish(lease, RunState.FAILED, error=InputError("x"))
                case "release":
                    leases.release(lease)
        clock.now += 1000
        while (claimed := leases.claim("last")) is not None:
            assert leases.finish(claimed.lease, RunState.SUCCEEDED)
        for run in runs:
            assert table.get(run).state.ended
            types = [event.type for event in table.events(run)]
            assert [type in ENDED for type in types].count(True) == 1
            assert types[-1] == table.get(run).state
            assert [event.seq for event in table.events(run)] == [*range(1, len(types) + 1)]
        database.close()


def test_runs_of_a_dead_executor_wait_while_no_other_has_room(table: RunTable, leases: Leases, clock: Clock) -> None:
    run, _ = table.accept(new())
    dead = claim(leases, "dead").lease
    leases.begin(dead, NODES)
    started = {0: NodeRecord("a", "make", "finished"), 1: NodeRecord("b", "step", "started", 2, 9)}
    leases.record({dead: RunChanges([], started, 0.5)})
    clock.now += 21 + (ORPHANED_LEASES - 1) * 20
    assert leases.requeue_orphans() == 0, "another executor may still take it, or its own may wake"
    assert table.get(run.id).state is RunState.RUNNING
    clock.now += 20
    assert leases.requeue_orphans() == 1
    assert table.get(run.id).state is RunState.QUEUED
    assert [node.state for node in table.nodes(run.id)] == ["finished", "waiting"]
    assert leases.renew("dead", 1, [dead]) == set()
    assert not leases.finish(dead, RunState.SUCCEEDED)
    again = claim(leases, "other").lease
    assert again == Lease(run.id, "other", 2)
    assert [event.type for event in table.events(run.id)] == ["accepted", "started", "continued"]


def test_a_run_that_kills_executors_is_given_up_even_if_it_waits_in_between(
    table: RunTable, leases: Leases, clock: Clock
) -> None:
    run, _ = table.accept(new())
    for _ in range(STRIKES):
        claim(leases)
        clock.now += 100
        assert leases.requeue_orphans() == 1
    assert leases.claim("e") is None
    assert table.get(run.id).state is RunState.FAILED
