"""The audit log: every door writes it, nobody changes it, and it holds no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import delete, exc, text, update

from acestep_flows.api.store.adoption import adopt
from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.assets import Assets
from acestep_flows.api.store.audit import START, Audit
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.deletion import Deletion
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.retention import _forget_runs
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import AUDIT
from acestep_flows.api.store.sessions import Sessions
from acestep_flows.errors import NotFound
from tests.api.store.clock import Clock, new


@pytest.fixture
def audit(database: Database, clock: Clock) -> Audit:
    return Audit(database, clock)


def told(audit: Audit) -> list[tuple[str, str, str]]:
    """Who did what to which object, oldest first."""
    return [(record.who, record.action, record.object) for record in reversed(audit.list())]


def test_runs_are_submitted_cancelled_and_deleted(
    database: Database, table: RunTable, leases: Leases, audit: Audit, clock: Clock
) -> None:
    waits, works = (table.accept(new(owner="alice", priority=-at))[0].id for at in range(2))
    table.cancel(waits, "alice")
    claimed = leases.claim("e")
    assert claimed is not None
    assert claimed.lease.run == works
    table.cancel(works, "alice")
    table.cancel(works, "alice")
    assert leases.finish(claimed.lease, RunState.CANCELLED)
    Deletion(database, clock).forget_run(works, "alice")
    assert told(audit) == [
        ("alice", "run.submitted", waits),
        ("alice", "run.submitted", works),
        ("alice", "run.cancelled", waits),
        ("alice", "run.cancelled", works),
        ("alice", "run.deleted", works),
    ]
    first = audit.list()[-1]
    assert first.details == {"graph": "song"}
    assert first.time == pytest.approx(clock.now, abs=1)


def test_what_ends_by_itself_or_is_not_allowed_is_no_action(
    database: Database, table: RunTable, leases: Leases, audit: Audit, clock: Clock
) -> None:
    run = table.accept(new(owner="alice"))[0].id
    for forbidden in (table.cancel, Deletion(database).forget_run):
        with pytest.raises(NotFound):
            forbidden(run, "bob")
    claimed = leases.claim("e")
    assert claimed is not None
    leases.finish(claimed.lease, RunState.SUCCEEDED)
    assert _forget_runs(database, clock.now + 1) == 1, "retention is nobody's action"
    assert told(audit) == [("alice", "run.submitted", run)]


def test_files_sessions_and_adoption(database: Database, audit: Audit, clock: Clock, tmp_path: Path) -> None:
    artifacts = Artifacts(database, tmp_path / "artifacts")
    assets = Assets(database, artifacts, clock)
    upload = assets.add(artifacts.put(b"la"), "audio", content_type="t", file_name="my secret.wav", owner="alice")
    Deletion(database, clock).delete_asset(upload.id, "alice")
    token = Sessions(database, clock).open("alice", "d" * 64)
    for _ in range(2):
        Sessions(database, clock).end(token)
    adopt(database, "alice", "command line: root")
    assert told(audit) == [
        ("alice", "file.uploaded", upload.id),
        ("alice", "file.deleted", upload.id),
        ("alice", "session.opened", "alice"),
        ("alice", "session.ended", "alice"),
        ("command line: root", "runs.adopted", "alice"),
    ]
    everything = json.dumps([vars(record) for record in audit.list()])
    assert token not in everything
    assert "secret" not in everything


def test_keys_are_compared_with_those_of_before(audit: Audit) -> None:
    audit.note_keys({"alice": {"runs": 2}, "bob": {}})
    audit.note_keys({"bob": {}, "alice": {"runs": 2}})
    audit.note_keys({"alice": {"runs": 3}})
    audit.note_keys({"alice": {"runs": 3}, "bob": {}})
    assert told(audit) == [
        (START, "key.added", "alice"),
        (START, "key.added", "bob"),
        (START, "key.changed", "alice"),
        (START, "key.removed", "bob"),
        (START, "key.added", "bob"),
    ]
    assert audit.list(action="key.changed")[0].details == {"runs": 3}


@pytest.mark.parametrize("change", [update(AUDIT).values(who="x"), delete(AUDIT)])
def test_nobody_changes_the_log(database: Database, audit: Audit, change: object) -> None:
    audit.add("alice", "link.made", "asset-1", seconds=60)
    with pytest.raises(exc.DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(change)  # type: ignore[call-overload]
    assert told(audit) == [("alice", "link.made", "asset-1")]


def test_pages_and_filters(audit: Audit, clock: Clock) -> None:
    start = clock.now
    for at in range(5):
        audit.add("alice" if at % 2 else "bob", "link.made" if at < 3 else "queue.paused", f"{at}")
        clock.now += 100
    first = audit.list(limit=2)
    assert [record.object for record in first] == ["4", "3"]
    assert [record.object for record in audit.list(limit=2, before=first[-1].number)] == ["2", "1"]
    assert [record.object for record in audit.list(who="alice")] == ["3", "1"]
    assert [record.object for record in audit.list(action="queue")] == ["4", "3"]
    assert [record.object for record in audit.list(action="link.made", since=start + 50, until=start + 150)] == ["1"]
    assert audit.list(action="q%") == ()


def test_programs_of_0_1_0_are_written_down_too(database: Database, audit: Audit) -> None:
    with database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO assets (id, kind, content_type, file_name, digest, bytes, owner, created_at, details) "
                "VALUES ('asset-0', 'audio', 't', 'f', 'd', 5, 'alice', 1, '{}')"
            )
        )
    assert told(audit) == [("alice", "file.uploaded", "asset-0")]
