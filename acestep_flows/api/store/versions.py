"""Migrates the tables. Every migration leaves them readable and writable for the version before.

Alembic keeps the latest migration in `schema_version`. 0.1.0 reads `alembic_version` and refuses a migration it does
not know, so that table keeps the oldest migration whose programs can use the tables: `READABLE_FROM`. A migration that
breaks this rule must raise `READABLE_FROM`, and earlier programs refuse the tables then.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, text

from acestep_flows.api.store.schema import METADATA, SCHEMA_VERSION
from acestep_flows.errors import StorageError

READABLE_FROM = "0002"
"""The latest migration of 0.1.0, which can use the tables as they are now."""

ADDED = {"totals": "0004", "audit": "0005", "switches": "0005", "traces": "0005"}
"""Tables that came after `schema_version`, and the migration that added each."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_EARLIER = "alembic_version"


def migrate(connection: Connection) -> None:
    """Bring the tables up to date, within the transaction of `connection`.

    Raises:
        StorageError: a later version of acestep_flows made them.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        _take_over(connection, ScriptDirectory.from_config(config))
        command.upgrade(config, "head")
    except CommandError as error:
        raise StorageError(f"the database belongs to another version of acestep_flows: {error}") from error
    _set_version(connection, _EARLIER, READABLE_FROM)


def _take_over(connection: Connection, scripts: ScriptDirectory) -> None:
    """Begin at the migration that an earlier program left, if it left one, or if older tables were put back."""
    left = _version(connection, _EARLIER)
    if left is None:
        return
    scripts.get_revision(left)  # raises if a later version left it
    latest = _version(connection, SCHEMA_VERSION.name)
    expected = {name for name in METADATA.tables if latest is None or ADDED.get(name, "") <= latest}
    if left != READABLE_FROM or expected - set(inspect(connection).get_table_names()):
        _set_version(connection, SCHEMA_VERSION.name, left)


def _version(connection: Connection, table: str) -> str | None:
    if not inspect(connection).has_table(table):
        return None
    version: str | None = connection.execute(text(f"SELECT version_num FROM {table}")).scalar()
    return version


def _set_version(connection: Connection, table: str, version: str) -> None:
    if _version(connection, table) == version:
        return
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {table} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"DELETE FROM {table}"))
    connection.execute(text(f"INSERT INTO {table} (version_num) VALUES (:version)"), {"version": version})
