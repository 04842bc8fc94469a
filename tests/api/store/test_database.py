"""The database: migrations, transactions, errors."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import OperationalError

from acestep_flows.api.store import database as module
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.leases import RunChanges
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import BLOBS, METADATA
from acestep_flows.errors import InputError, StorageError, Unavailable
from benchmarks.store import counted
from tests.api.store.clock import new


def count(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(BLOBS)).scalar_one()


def blob(number: int) -> dict[str, object]:
    return {"digest": str(number), "bytes": 1, "touched_at": 0.0}


def test_migrations_give_the_tables_of_the_schema(database: Database) -> None:
    with database.write() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_opening_again_changes_nothing(database: Database, url: str) -> None:
    with database.write() as connection:
        connection.execute(insert(BLOBS).values(blob(1)))
    again = Database(url)
    assert count(again) == 1
    again.close()


def test_several_threads_may_open_a_new_database(url: str) -> None:
    opened: list[Database] = []
    threads = [threading.Thread(target=lambda: opened.append(Database(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4
    for database in opened:
        database.close()


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute(insert(BLOBS).values(blob(1)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert count(database) == 0


def test_writers_follow_one_another(database: Database) -> None:
    """Each writer reads first and writes what depends on it."""

    def add() -> None:
        for _ in range(10):
            with database.write() as connection:
                number = connection.execute(select(func.count()).select_from(BLOBS)).scalar_one()
                connection.execute(insert(BLOBS).values(blob(number)))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database) == 40


def flushes(connection: Connection) -> bool:
    """Whether the commit of a transaction is flushed to the disk."""
    if connection.dialect.name == "sqlite":
        return bool(connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2)
    return bool(connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on")


def test_a_transaction_is_on_disk_unless_its_writer_can_do_without(database: Database) -> None:
    for durable in (True, False, False, True):
        with database.write_beside(durable=durable) as connection:
            assert flushes(connection) == durable
    with database.write() as connection:
        assert flushes(connection)


def test_runs_are_accepted_and_ended_on_disk(url: str, tmp_path: Path) -> None:
    """What a caller was told is never lost: that a run is accepted, and how it ended."""
    home = Home.open(tmp_path / "home", database=None if url.startswith("sqlite") else url)
    with closing(home):
        with counted(home) as accepting:
            home.runs.accept(new())
        with counted(home) as working:
            claimed = home.leases.claim("e")
            assert claimed is not None
            home.leases.record({claimed.lease: RunChanges([], {}, 0.5)})
            home.leases.renew("e", 1, [claimed.lease])
        with counted(home) as ending:
            assert home.leases.finish(claimed.lease, RunState.SUCCEEDED)
    assert [counts["flushes"] for counts in (accepting, working, ending)] == [1, 0, 1]
    assert [counts["commits"] for counts in (accepting, working, ending)] == [1, 3, 1]


def test_a_connection_that_broke_while_it_was_idle_is_replaced(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if url.startswith("sqlite"):
        pytest.skip("there is no connection to break")
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    own = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
    with database.read() as first, database.read() as second:
        assert [connection.exec_driver_sql("SELECT 1").scalar_one() for connection in (first, second)] == [1, 1]
    other = Database(url)
    with closing(other), other.write() as connection:
        assert len(connection.exec_driver_sql(own + "pg_backend_pid()").all()) >= 2
    for _ in range(3):
        assert count(database) == 0


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(BLOBS).values(blob(1)))
        assert count(database) == 0
    assert count(database) == 1


def test_a_locked_database_may_be_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    held = Database.file(tmp_path / "runs.sqlite")

    def write() -> None:
        with held.write():
            raise AssertionError

    with held.write(), pytest.raises(Unavailable, match="locked"):
        write()
    held.close()


def test_a_writer_waits_for_that_of_another_process(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    mine = Database.file(path)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    ended = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    ended.start()
    begun = time.monotonic()
    with mine.write_beside() as connection:
        assert 0.2 < time.monotonic() - begun < 10
        connection.execute(insert(BLOBS).values(blob(1)))
    assert count(mine) == 1
    ended.join()
    other.close()
    mine.close()


def test_a_writer_waits_for_that_of_another_process_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.sqlite"
    mine = Database.file(path)
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"), mine.write_beside():
            raise AssertionError
        other.execute("ROLLBACK")
    with mine.write_beside() as connection:
        connection.execute(insert(BLOBS).values(blob(1)))
    mine.close()


def test_a_database_that_is_gone_may_be_asked_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError("connection refused"))

    monkeypatch.setattr(database._engine, "connect", refuse)
    with pytest.raises(Unavailable, match="connection refused"):
        count(database)


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    full = Database.file(tmp_path / "runs.sqlite")

    def fill() -> None:
        with full.write() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count=1")
            connection.execute(insert(BLOBS).values({"digest": "d" * 1_000_000, "bytes": 1, "touched_at": 0.0}))

    with pytest.raises(StorageError, match="full") as caught:
        fill()
    assert caught.type is StorageError
    full.close()


def test_a_database_of_a_later_version_is_refused(database: Database, url: str) -> None:
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StorageError, match="another version"):
        Database(url)


def test_runs_of_the_first_version_are_still_there(database: Database, url: str) -> None:
    run = RunTable(database).accept(new())[0]
    with database.write() as connection:
        for back in (
            *(f"DROP TABLE {name}" for name in ("labels", "derived_files", "usage", "sessions", "counters", "secrets")),
            "DROP INDEX ix_events_number",
            "ALTER TABLE events DROP COLUMN number",
            "DROP TABLE previews",
            "ALTER TABLE runs DROP COLUMN preview_every",
            "UPDATE alembic_version SET version_num = '0001'",
        ):
            connection.exec_driver_sql(back)
    again = Database(url)
    assert RunTable(again).get(run.id) == run
    with again.write() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    again.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://localhost/runs"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InputError, match="database"):
        Database(url)


def test_an_unusable_home_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        Home.open(tmp_path / "file" / "home")
    (tmp_path / "home" / "runs.sqlite").mkdir(parents=True)
    with pytest.raises(StorageError, match="unable to open"):
        Home.open(tmp_path / "home")


def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "runs.sqlite").write_text("something else" * 100)
    with pytest.raises(StorageError, match="not a database"):
        Home.open(tmp_path)
