"""Counts over the store."""

from __future__ import annotations

import pytest

from acestep_flows.api.store import figures
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.figures import ended_since
from acestep_flows.api.store.runs import RunTable
from tests.api.store.clock import Clock, new


def test_every_run_that_ended_is_found_once_however_many_ended_together(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "PAGE", 4)
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

    def found(moment: float, known: tuple[str, ...] = ()) -> list[str]:
        return [run.id for run in ended_since(database, moment, known)]

    assert found(begun) == [early, *sorted(together), late[0]]
    assert found(moment) == [*sorted(together), late[0]]
    assert found(moment, tuple(together)) == [late[0]]
    assert found(begun + 21) == []
