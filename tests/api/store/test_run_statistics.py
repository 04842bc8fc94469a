"""What a process is told of the runs that it ends."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.deletion import Deletion
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.run_ends import ENDING_COLUMNS, EventBatch, RunEnd, end_runs
from acestep_flows.api.store.run_statistics import RunStatistics
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import RUNS
from tests.api.store.clock import Clock, new


def test_a_process_is_told_of_the_runs_that_it_ends(database: Database, url: str, clock: Clock) -> None:
    """Also of one that another process deletes at once, and of none whose transaction fails."""
    other = Database(url)
    here: list[RunStatistics] = []
    there: list[RunStatistics] = []
    database.on_ended(here.extend)
    other.on_ended(there.extend)
    table, elsewhere = RunTable(database, clock), RunTable(other, clock)
    first, second, kept = (table.accept(new())[0].id for _ in range(3))
    for _ in range(2):
        elsewhere.cancel(first)
    Deletion(database).forget_run(first)
    table.cancel(second)
    Deletion(other).forget_run(second)

    def end_and_fail() -> None:
        with database.write() as connection:
            row = connection.execute(select(*ENDING_COLUMNS).where(RUNS.c.id == kept)).one()
            end_runs(connection, [RunEnd(kept, RunState.CANCELLED)], {kept: row}, clock(), EventBatch())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        end_and_fail()
    assert [(run.id, run.state) for run in there] == [(first, RunState.CANCELLED)]
    assert [(run.id, run.state, run.graph) for run in here] == [(second, RunState.CANCELLED, "song")]
    assert table.get(kept).state is RunState.QUEUED
    other.close()
