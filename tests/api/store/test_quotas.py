"""Quotas: seconds of a day and bytes that are kept, and what a refusal says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from acestep_flows.api.store.adoption import adopt
from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.assets import Assets
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.deletion import Deletion
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.quotas import DAY, Quotas, QuotaTable
from acestep_flows.api.store.records import NewOutput, NodeRecord, RunState
from acestep_flows.api.store.retention import _forget_runs
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.totals import fold_totals
from acestep_flows.errors import QuotaExceeded
from tests.api.store.clock import Clock, new

EVENING = 20_000 * DAY + 21 * 3600 + 46 * 60
"""A quarter to ten in the evening, nearly: 2 hours and 14 minutes before midnight (UTC)."""


@pytest.fixture
def quotas(database: Database, clock: Clock) -> QuotaTable:
    clock.now = EVENING
    return QuotaTable(database, clock)


def computed(leases: Leases, table: RunTable, seconds: float, owner: str = "alice") -> str:
    """A run of an owner that took some seconds."""
    run = table.accept(new(owner=owner))[0].id
    claimed = leases.claim("e")
    assert claimed is not None
    node = NodeRecord("take", "sample", state="finished", seconds=seconds)
    assert leases.begin(claimed.lease, [node])
    assert leases.finish(claimed.lease, RunState.SUCCEEDED)
    return run


def test_seconds_of_a_day(quotas: QuotaTable, table: RunTable, leases: Leases, clock: Clock) -> None:
    allowed = Quotas(compute_seconds=100)
    computed(leases, table, 60)
    computed(leases, table, 500, owner="bob")
    quotas.check_run("alice", allowed)
    table.accept(new(owner="alice", expected_seconds=39.0))
    quotas.check_run("alice", allowed)
    table.accept(new(owner="alice", expected_seconds=2.0))
    with pytest.raises(QuotaExceeded) as refused:
        quotas.check_run("alice", allowed)
    assert str(refused.value) == (
        "60 of 100 seconds of computation of this key are used today, and 41 more are expected of runs in hand; "
        "they are free again at 00:00 UTC, in 2 h 13 min"
    )
    assert refused.value.retry_after == pytest.approx(2 * 3600 + 14 * 60, abs=2)
    quotas.check_run("alice", Quotas())
    quotas.check_run("nobody", allowed)
    clock.now += 3 * 3600
    quotas.check_run("alice", allowed)
    assert quotas.used("alice").compute_seconds == 0
    assert quotas.used("alice").expected_seconds == 41


@pytest.fixture
def files(database: Database, clock: Clock, tmp_path: Path) -> Assets:
    return Assets(database, Artifacts(database, tmp_path / "artifacts"), clock)


def test_bytes_are_those_of_files_that_are_kept(
    quotas: QuotaTable, database: Database, files: Assets, table: RunTable, leases: Leases, clock: Clock
) -> None:
    def upload(content: bytes, owner: str = "alice") -> str:
        blob = files._artifacts.put(content)
        return files.add(blob, "audio", content_type="t", file_name="f", owner=owner).id

    first, second = upload(b"x" * 700), upload(b"x" * 700)
    upload(b"y" * 5000, "bob")
    run = table.accept(new(owner="alice"))[0].id
    claimed = leases.claim("e")
    assert claimed is not None
    blob = files._artifacts.put(b"z" * 300)
    output = NewOutput("audio", "audio", "t", "f", blob, {"seconds": 1.0})
    assert leases.finish(claimed.lease, RunState.SUCCEEDED, outputs=[output])
    assert quotas.used("alice").bytes == 1700
    assert quotas.stored() == {"alice": 1700, "bob": 5000}
    with pytest.raises(QuotaExceeded) as refused:
        quotas.check_upload("alice", Quotas(bytes=2000), 301)
    assert str(refused.value).startswith("1700 of 2000 bytes of files of this key are used, and 301 more do not fit; ")
    quotas.check_upload("alice", Quotas(bytes=2000), 300)
    quotas.check_run("alice", Quotas(bytes=1701))
    with pytest.raises(QuotaExceeded, match="1700 of 1700 bytes"):
        quotas.check_run("alice", Quotas(bytes=1700))
    Deletion(database, clock).delete_asset(first, "alice")
    assert quotas.used("alice").bytes == 1000
    output_id = table.get(run).outputs["audio"].asset
    Deletion(database, clock).delete_asset(output_id, "alice")
    assert quotas.used("alice").bytes == 700, "an output that expired is not kept"
    assert _forget_runs(database, clock.now + 1) == 1
    assert quotas.used("alice").bytes == 700, "it counts once"
    Deletion(database, clock).delete_asset(second, "alice")
    assert quotas.stored() == {"bob": 5000}


def test_files_of_a_run_that_is_forgotten_are_free(
    quotas: QuotaTable, database: Database, files: Assets, table: RunTable, leases: Leases, clock: Clock
) -> None:
    run = table.accept(new(owner="alice"))[0].id
    claimed = leases.claim("e")
    assert claimed is not None
    output = NewOutput("audio", "audio", "t", "f", files._artifacts.put(b"z" * 300), {"seconds": 1.0})
    leases.finish(claimed.lease, RunState.SUCCEEDED, outputs=[output])
    assert quotas.used("alice").bytes == 300
    Deletion(database, clock).forget_run(run)
    assert quotas.used("alice").bytes == 0


def test_adopted_files_are_the_owners(quotas: QuotaTable, database: Database, files: Assets) -> None:
    files.add(files._artifacts.put(b"x" * 70), "audio", content_type="t", file_name="f")
    adopt(database, "alice")
    assert quotas.stored() == {"alice": 70}


def test_totals_are_right_after_folding_and_from_the_start(
    quotas: QuotaTable, database: Database, files: Assets, url: str
) -> None:
    blob = files._artifacts.put(b"x" * 10)
    for _ in range(60):
        files.add(blob, "audio", content_type="t", file_name="f", owner="alice")
    fold_totals(database)
    assert quotas.used("alice").bytes == 600
    with database.write() as connection:  # tables of the version before, which had no such total
        connection.execute(text("DELETE FROM totals WHERE name = 'stored'"))
        connection.execute(text("UPDATE schema_version SET version_num = '0004'"))
    again = Database(url)
    assert QuotaTable(again).used("alice").bytes == 600
    again.close()


def test_no_quota_asks_nothing(quotas: QuotaTable, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "read", lambda: pytest.fail("asked"))
    quotas.check_run("alice", Quotas())
    quotas.check_upload("alice", replace(Quotas(), compute_seconds=1.0), 10**12)
