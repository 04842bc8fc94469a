"""What the store is asked is answered from indexes and running totals, never by reading a whole table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from acestep_flows.api.store import totals
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.records import ENDED, RunState
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import RUNS, TOTALS
from acestep_flows.api.store.totals import fold_totals, total_bytes
from acestep_flows.errors import InputError
from benchmarks.store import SLOTS, Stopwatch, questions, work_of_a_run
from benchmarks.store_filling import fill
from tests.api.store.clock import Clock, new

LARGE = {"runs", "nodes", "events", "assets", "blobs", "labels"}
"""Tables that grow with every run."""

PARTIAL = {"ix_runs_deadline", "ix_runs_webhook", "ix_assets_uploads"}
"""Indexes of few rows, which may be read whole: of queued runs, of webhooks that are due, of uploads."""


NEARLY_ALL = "(expired_at IS NULL)"
"""A condition that most rows of a table meet."""


def scans(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:
    """The parts of a statement's plan that read a whole large table."""
    if isinstance(parameters, list):
        parameters = parameters[0]
    if connection.dialect.name == "sqlite":
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
            table = re.match(r"SCAN (\w+)", row.detail)
            # In the order of an index, up to a limit, is no scan.
            if (
                table
                and table[1] in LARGE
                and not ("USING" in row.detail and "LIMIT" in statement and "GROUP BY" not in statement)
            ):
                yield row.detail
        return
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # small tables are scanned even if there is an index
    (plan,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    yield from _postgresql_scans(plan["Plan"], limited=False)


def _postgresql_scans(plan: dict[str, Any], limited: bool, is_sorted: bool = False) -> Iterator[str]:
    kind, table = plan["Node Type"], plan.get("Relation Name")
    limited = limited or kind == "Limit"
    if kind in ("Sort", "Aggregate", "Hash"):
        limited, is_sorted = False, kind == "Sort"
    # Nearly all rows of a small table are rightly looked through, but those of a large one are not to be sorted.
    is_whole = "Index Cond" not in plan or (is_sorted and plan["Index Cond"] == NEARLY_ALL)
    if table in LARGE and (kind == "Seq Scan" or (kind.startswith("Index") and is_whole and not limited)):
        yield f"{kind} of {table}"
    if kind == "Bitmap Index Scan" and is_whole and plan["Index Name"] not in PARTIAL:
        yield f"{kind} of {plan['Index Name']}"
    for part in plan.get("Plans", ()):
        yield from _postgresql_scans(part, limited, is_sorted)


def test_no_question_reads_a_whole_table(url: str, tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", database=None if url.startswith("sqlite") else url)
    fill(home.database, 4000)
    watch, found = Stopwatch(), dict[str, list[str]]()
    asked = questions(home)
    watch.watch(home)
    for name, ask in asked.items():
        watch.statements.clear()
        ask()
        for statement, parameters in dict(watch.statements).items():
            if re.match(r"\s*(SELECT|WITH|UPDATE|DELETE)", statement):
                with home.database.read() as connection:
                    if bad := list(scans(connection, statement, parameters)):
                        found.setdefault(name, []).append(f"{bad}: {statement}")
    home.close()
    assert found == {}


def test_a_scan_is_recognised(url: str, tmp_path: Path) -> None:
    home = Home.open(tmp_path / "home", database=None if url.startswith("sqlite") else url)
    fill(home.database, 1000)
    with closing(home), home.database.read() as connection:
        assert list(scans(connection, "SELECT count(*) FROM runs WHERE attempt = 7", ()))
        assert list(scans(connection, "SELECT state, count(*) FROM runs GROUP BY state", ()))
        assert not list(scans(connection, "SELECT id FROM runs WHERE id = 'run-1'", ()))


def test_a_run_costs_its_store_few_statements(url: str, tmp_path: Path) -> None:
    cost = work_of_a_run(tmp_path / "home", None if url.startswith("sqlite") else url, runs=2 * SLOTS)
    alone, wave = cost["alone"], cost["in waves"]
    assert alone["accept statements"] <= 6
    assert alone["execute statements"] <= 24
    assert (alone["accept flushes"], alone["execute flushes"]) == (1, 1)
    assert wave["execute statements"] <= alone["execute statements"] / 2
    assert wave["execute flushes"] <= 1


def counted(database: Database) -> Counter[tuple[str, str]]:
    with database.read() as connection:
        rows = connection.execute(select(RUNS.c.owner, RUNS.c.state)).all()
    return Counter((row.owner, row.state) for row in rows)


def test_totals_are_what_counting_gives(database: Database, clock: Clock) -> None:
    """Whatever happens to runs: they end in each way, change their owner, and are forgotten."""
    table, leases = RunTable(database, clock), Leases(database, 20.0, clock)

    def agree() -> None:
        truth = counted(database)
        for owner in ("a", "b", "nobody"):
            counts = table.counts(owner)
            assert counts == {state: truth[owner, state.value] for state in RunState}
        assert table.counts() == {
            state: sum(count for (_, each), count in truth.items() if each == state.value) for state in RunState
        }

    runs = [table.accept(new(owner="ab"[at % 2]))[0].id for at in range(12)]
    agree()
    table.cancel(runs[0])
    for state, error in ((RunState.SUCCEEDED, None), (RunState.FAILED, InputError("x")), (RunState.SUCCEEDED, None)):
        claimed = leases.claim("e")
        assert claimed is not None
        assert leases.finish(claimed.lease, state, error=error)
    assert leases.claim("e") is not None
    agree()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE runs SET owner = 'b' WHERE state <> 'queued' AND owner = 'a'")
    agree()
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM runs WHERE state = 'succeeded'")
    agree()
    assert sum(table.counts()[state] for state in ENDED) == 2


def test_folding_changes_no_total(database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MOST_ROWS", 3)
    table = RunTable(database, clock)
    for _ in range(9):
        table.cancel(table.accept(new(owner="a"))[0].id)
    before = table.counts("a")
    fold_totals(database)
    with database.read() as connection:
        assert len(connection.execute(select(TOTALS).where(TOTALS.c.owner == "a")).all()) == 1
        assert total_bytes(connection) == 0
    assert table.counts("a") == before
    assert before[RunState.CANCELLED] == 9
