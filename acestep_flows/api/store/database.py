"""The database: a SQLite file by default, PostgreSQL by URL, with the same code.

Write transactions follow one another on both (SQLite has one writer; on PostgreSQL they share an advisory lock), so a
limit checked in a transaction still holds when it commits. A committed transaction is on disk.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy.orm  # noqa: F401 - else several threads import it at once, and one finds it half made
from filelock import FileLock
from sqlalchemy import URL, Connection, create_engine, event, exc, text
from sqlalchemy.engine import make_url

from acestep_flows.api.store.fifo_lock import FifoLock
from acestep_flows.errors import InputError, StorageError, Unavailable

BUSY_SECONDS = 30.0
"""How long a transaction waits for another one."""

_WRITERS = 0x0ACE_57E9
"""The advisory lock that writers share on PostgreSQL."""

_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """One database, its tables brought up to date. Thread-safe; every process opens its own.

    Args:
        url: `sqlite:////absolute/path`, or `postgresql+psycopg://...`.

    Raises:
        StorageError: it cannot be reached, or was made by a later version.
        InputError: the URL is none, or of another kind of database.
    """

    def __init__(self, url: str | URL) -> None:
        try:
            self.url = make_url(url)
        except exc.ArgumentError as error:
            raise InputError(
                "no database URL", where="database", allowed="sqlite:///... or postgresql://..."
            ) from error
        self._sqlite = self.url.get_backend_name() == "sqlite"
        self._turns = FifoLock()
        if self.url.get_backend_name() not in ("sqlite", "postgresql"):
            found = self.url.get_backend_name()
            raise InputError(f"a {found} database", where="database", allowed="sqlite or postgresql")
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        with _told("opened"):
            self._engine = create_engine(self.url, pool_size=8, pool_pre_ping=not self._sqlite)
            if self._sqlite:
                event.listen(self._engine, "connect", _prepare)
                event.listen(self._engine, "begin", _begin)
            try:
                self._migrate()
            except BaseException:
                self._engine.dispose()
                raise

    @classmethod
    def file(cls, path: Path) -> Database:
        """The SQLite database in `path`."""
        return cls(URL.create("sqlite", database=str(path)))

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with _told("read"), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction with no other writer beside it; on disk when it is left without an exception.

        Raises:
            StorageError: the disk is full.
            Unavailable: the database is locked for too long, or cannot be reached.
        """
        # Writers of this process wait here, without a connection; SQLite's own wait is for those of others.
        turn = self._turns.mine(BUSY_SECONDS) if self._sqlite else contextlib.nullcontext()
        with _told("written"), turn, self._engine.connect() as reader:
            connection = reader.execution_options(writes=True)
            with connection.begin():
                if not self._sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS})
                yield connection

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        lock: Any = contextlib.nullcontext()
        if self._sqlite and self.url.database:
            lock = FileLock(f"{self.url.database}.lock")  # Two processes must not turn on the WAL at once.
        with lock, self.write() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise StorageError(f"the database is of another version of acestep_flows: {error}") from error


def _prepare(connection: Any, record: Any) -> None:
    """Set up a SQLite connection; the driver is to begin no transactions of its own."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(BUSY_SECONDS * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    """A writer takes its place at once: a reader that turns writer may find that it read an old state."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def _told(how: str) -> Iterator[None]:
    try:
        yield
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
        raise  # not the database's fault
    except (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError, OSError) as error:
        reason = getattr(error, "orig", None) or error
        kind = StorageError if _full(reason) else Unavailable
        raise kind(f"the database cannot be {how}: {str(reason).strip()}") from error


def _full(reason: Any) -> bool:
    """Whether there is no space left: what asking again does not help against."""
    return (
        getattr(reason, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(reason, "sqlstate", None) == "53100"  # disk_full of PostgreSQL
        or getattr(reason, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    )
