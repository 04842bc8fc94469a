"""Counts over the store."""

from __future__ import annotations

import pytest

from acestep_flows.api.store import statistics
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import Leases, RunChanges
from acestep_flows.api.store.records import NodeRecord, RunState
from acestep_flows.api.store.run_statistics import RunStatistics
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.statistics import runs_ended_since
from tests.api.store.clock import Clock, new


def test_statistics_have_the_queue_seconds_of_nodes(database: Database, clock: Clock) -> None:
    table, leases = RunTable(database, clock), Leases(database, clock=clock)
    run = table.accept(new())[0].id
    claimed = leases.claim("e")
    assert claimed is not None
    leases.begin(claimed.lease, [NodeRecord("a", "make"), NodeRecord("b", "work")])
    times = [("queued", "a", 1.0), ("cached", "a", 1.1), ("queued", "b", 2.0), ("started", "b", 5.0),
             ("queued", "b", 10.0), ("started", "b", 10.5)]  # fmt: skip
    events = [(type, {"node": node, "time": time}) for type, node, time in times]
    nodes = {0: NodeRecord("a", "make", "cached"), 1: NodeRecord("b", "work", "finished", seconds=3.0)}
    told: list[RunStatistics] = []
    database.on_ended(told.extend)
    assert leases.finish(claimed.lease, RunState.SUCCEEDED, changes=RunChanges(events, nodes))
    (ended,) = runs_ended_since(database, 0.0)
    assert told == [ended]
    assert ended.id == run
    assert {node.stage: (node.state, node.waited, node.seconds) for node in ended.nodes} == {
        "make": ("cached", None, None),
        "work": ("finished", 0.5, 3.0),
    }


def test_every_ended_run_is_counted_once_even_if_many_end_together(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "PAGE", 4)
    table, ending = RunTable(database, clock), RunTable(database, lambda: clock.now)
    begun = clock.now
    early = table.accept(new())[0].id
    ending.cancel(early)
    together = [table.accept(new())[0].id for _ in range(13)]
    clock.now = moment = begun + 10
    for run in together:
        ending.cancel(run)
    clock.now += 10
    late = [table.accept(new())[0].id for _ in range(3)]
    ending.cancel(late[0])

    def ended_ids(moment: float, known: tuple[str, ...] = ()) -> list[str]:
        return [run.id for run in runs_ended_since(database, moment, known)]

    assert ended_ids(begun) == [early, *sorted(together), late[0]]
    assert ended_ids(moment) == [*sorted(together), late[0]]
    assert ended_ids(moment, tuple(together)) == [late[0]]
    assert ended_ids(begun + 21) == []
