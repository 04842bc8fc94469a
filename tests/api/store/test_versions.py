"""Tables of this version serve 0.1.0, too: a rolling upgrade, and a way back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from acestep_flows.api.store import versions
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import METADATA
from acestep_flows.api.store.versions import READABLE_FROM
from tests.api.store.clock import Clock, new

MIGRATIONS = Path(versions.__file__).parent / "migrations"

ENV = """
from alembic import context
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
"""


def opened_by_0_1_0(connection: Connection, folder: Path) -> None:
    """What 0.1.0 does when it opens a database: its two migrations, by the version in `alembic_version`."""
    (folder / "versions").mkdir(parents=True, exist_ok=True)
    (folder / "env.py").write_text(ENV)
    for name in ("first_tables.py", "previews.py"):
        shutil.copy(MIGRATIONS / "versions" / name, folder / "versions")
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def accepted_by_0_1_0(connection: Connection, id: str, state: str) -> None:
    """A row with the columns of 0.1.0, and its event, which has no number."""
    connection.execute(
        text(
            "INSERT INTO runs (id, graph, digest, content, inputs, owner, priority, cache, format, state, created_at, "
            "progress, cancel_requested, attempt, strikes, last_event, warnings, webhook_failures, request_digest) "
            "VALUES (:id, 'song', 'd', '{}', '{}', '', 0, 'use', 'flac', :state, 1, 0, :no, 0, 0, 1, '[]', 0, '')"
        ),
        {"id": id, "state": state, "no": False},
    )
    event = "INSERT INTO events (run, seq, type, time, body) VALUES (:id, 1, 'accepted', 1, '{\"node\": \"\"}')"
    connection.execute(text(event), {"id": id})


def test_0_1_0_opens_and_writes_what_this_version_made(
    database: Database, url: str, clock: Clock, tmp_path: Path
) -> None:
    table, leases = RunTable(database, clock), Leases(database, clock=clock)
    ids = [f"run-{at:026x}" for at in range(3)]
    with database.write() as connection:
        tables = set(inspect(connection).get_table_names())
        opened_by_0_1_0(connection, tmp_path)
        assert set(inspect(connection).get_table_names()) == tables
        for id in ids:
            accepted_by_0_1_0(connection, id, "queued")
        connection.execute(text("UPDATE runs SET state = 'failed', finished_at = 2 WHERE id = :id"), {"id": ids[0]})
    assert table.counts()[RunState.FAILED] == 1, "the totals know what 0.1.0 did"
    claimed = leases.claim("e")
    assert claimed is not None
    assert leases.finish(claimed.lease, RunState.SUCCEEDED)
    assert [event.type for event in table.events(claimed.lease.run)] == ["accepted", "started", "succeeded"]
    with database.write() as connection:
        connection.execute(text("DELETE FROM runs WHERE id = :id"), {"id": ids[0]})
    assert table.counts()[RunState.FAILED] == 0
    table.accept(new())
    again = Database(url)  # this version after 0.1.0 once more
    assert RunTable(again).counts() == table.counts()
    again.close()


def test_a_database_of_0_1_0_is_brought_up_to_date(url: str, tmp_path: Path) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        opened_by_0_1_0(connection, tmp_path)
        accepted_by_0_1_0(connection, "run-" + "0" * 26, "succeeded")
    database = Database(url)
    assert RunTable(database).counts()[RunState.SUCCEEDED] == 1
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [READABLE_FROM]
        opened_by_0_1_0(connection, tmp_path)
    database.close()
    engine.dispose()


def migrated_to(connection: Connection, version: str) -> None:
    """Bring the tables to a migration, not to the latest."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def later_migrations() -> list[str]:
    """Every migration from READABLE_FROM on, but the latest."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    revisions = [script.revision for script in scripts.walk_revisions(READABLE_FROM, "head")]
    return revisions[:0:-1]


@pytest.mark.parametrize("version", later_migrations())
def test_every_migration_leaves_what_an_earlier_program_reads_and_writes(version: str, url: str) -> None:
    """The rule for migrations: add tables, and columns that may be absent; remove, rename and narrow nothing."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        migrated_to(connection, version)
        before = shape(connection)
        migrated_to(connection, "head")
        after = shape(connection)
    engine.dispose()
    assert before.keys() <= after.keys(), "a table is gone"
    for table, columns in before.items():
        assert columns.keys() <= after[table].keys(), f"{table}: a column is gone"
        for name, (kind, nullable) in columns.items():
            assert after[table][name][0] == kind, f"{table}.{name} has another type"
            assert after[table][name][1] or not nullable, f"{table}.{name} must not be null any more"
        for name in after[table].keys() - columns.keys():
            assert after[table][name][1], f"{table}.{name} is new, and an earlier program does not set it"


@pytest.mark.parametrize("version", [version for version in later_migrations() if version >= "0004"])
def test_tables_of_each_migration_are_brought_up_to_date(version: str, url: str) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        migrated_to(connection, version)
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:left)"), {"left": READABLE_FROM})
        accepted_by_0_1_0(connection, "run-" + "0" * 26, "succeeded")
    engine.dispose()
    database = Database(url)
    assert RunTable(database).counts()[RunState.SUCCEEDED] == 1
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) >= METADATA.tables.keys()
    database.close()


def shape(connection: Connection) -> dict[str, dict[str, tuple[str, bool]]]:
    """Type and nullability of every column, or whether it has a default of the database, by table."""
    inspector = inspect(connection)
    return {
        table: {
            column["name"]: (str(column["type"]), column["nullable"] or column.get("default") is not None)
            for column in inspector.get_columns(table)
        }
        for table in inspector.get_table_names()
    }
