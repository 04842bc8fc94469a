"""The database: a SQLite file by default, PostgreSQL by URL, with the same code.

SQLite allows one writer at a time. On PostgreSQL a writer chooses: `write` has no other writer beside it, so that what
it read still holds when it commits; `write_beside` runs beside others of its kind, and locks the rows it depends on.
An advisory lock keeps the two kinds apart. A committed transaction is on disk.

Transactions of `write_beside` lock in one order, or they would wait for each other for ever: runs by id, then usage,
then the counter of events, which is held until the commit.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy.orm  # noqa: F401 - imported here, before several threads import it at once and one sees half of it
from filelock import FileLock
from sqlalchemy import URL, Connection, Insert, Table, create_engine, event, exc, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

from acestep_flows.api.store.fifo_lock import FifoLock
from acestep_flows.api.store.run_statistics import RunStatistics
from acestep_flows.errors import InputError, StorageError, Unavailable
from acestep_flows.optional_packages import require
from acestep_flows.storage import without_login

BUSY_SECONDS = 30.0
"""How long a write transaction waits for another one."""

CONNECT_SECONDS = 5
"""How long PostgreSQL may take to accept a connection, unless the URL says otherwise."""

ENDED_RUNS = "ended_runs"
"""In the `info` of a connection: the statistics of the runs that its transaction ends."""

EndListener: TypeAlias = Callable[[Sequence[RunStatistics]], None]
"""Told of runs that this process has ended, once their transaction is committed. Called from any thread."""

_WRITERS = 0x0ACE_57E9
"""Key of the advisory lock of writers on PostgreSQL: held alone by `write`, shared by `write_beside`."""

ACCEPTING = 0x0ACE_57EA
"""Key of the lock of transactions that accept runs. They check limits, so they follow one another."""


class Database:
    """One database with migrated tables. Thread-safe. Every process opens its own.

    Args:
        url: `sqlite:////absolute/path`, or `postgresql+psycopg://...`.

    Raises:
        StorageError: the database cannot be reached, or a later version of acestep_flows made it.
        InputError: the URL is not valid, or names another kind of database.
    """

    def __init__(self, url: str | URL) -> None:
        try:
            self.url = make_url(url)
        except exc.ArgumentError as error:
            raise InputError(
                "not a database URL", where="database", allowed="sqlite:///... or postgresql://..."
            ) from error
        self._sqlite = self.url.get_backend_name() == "sqlite"
        self._write_lock = FifoLock()
        self._end_listeners: list[EndListener] = []
        if self.url.get_backend_name() not in ("sqlite", "postgresql"):
            backend = self.url.get_backend_name()
            raise InputError(f"{backend} is not supported", where="database", allowed="sqlite or postgresql")
        if not self._sqlite:
            require("postgres", "a PostgreSQL database")
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        with _translate_errors("opened"):
            timed = self._sqlite or "connect_timeout" in self.url.query
            waits = {} if timed else {"connect_timeout": CONNECT_SECONDS}
            options: dict[str, Any] = {"pool_size": 8, "pool_pre_ping": not self._sqlite}
            self._engine = create_engine(self.url, connect_args=waits, **options)
            if self._sqlite:
                event.listen(self._engine, "connect", _configure_sqlite)
                event.listen(self._engine, "begin", _begin_transaction)
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
        """Open a read transaction, which sees one state of the database.

        Raises:
            Unavailable: the database cannot be reached.
        """
        with _translate_errors("read"), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a write transaction, with no other writer beside it. Commits unless an exception leaves the context.

        Raises:
            StorageError: the disk is full.
            Unavailable: the database stayed locked for BUSY_SECONDS, or cannot be reached.
        """
        with self._begin_write(select(func.pg_advisory_xact_lock(_WRITERS))) as connection:
            yield connection

    @contextlib.contextmanager
    def write_beside(self, turn: int | None = None) -> Iterator[Connection]:
        """Open a write transaction that may run beside others of this method. The caller locks the rows it depends on.

        Args:
            turn: key of a lock; transactions with the same one follow one another.

        Raises:
            StorageError: the disk is full.
            Unavailable: the database stayed locked for BUSY_SECONDS, or cannot be reached.
        """
        locks: Any = select(func.pg_advisory_xact_lock_shared(_WRITERS))
        if turn is not None:
            locks = select(func.pg_advisory_xact_lock_shared(_WRITERS), func.pg_advisory_xact_lock(turn))
        with self._begin_write(locks) as connection:
            yield connection

    @contextlib.contextmanager
    def _begin_write(self, locks: Any) -> Iterator[Connection]:
        # Writers of this process wait here, without a connection. SQLite's own wait is for writers of other processes.
        lock = self._write_lock.hold(BUSY_SECONDS) if self._sqlite else contextlib.nullcontext()
        ended: list[RunStatistics] = []
        with _translate_errors("written"), lock, self._engine.connect() as reader:
            connection = reader.execution_options(writes=True)
            with connection.begin():
                if not self._sqlite:
                    connection.execute(locks)
                connection.info[ENDED_RUNS] = ended
                yield connection
        if ended:
            for listener in self._end_listeners:
                listener(ended)

    def on_ended(self, listener: EndListener) -> None:
        """Tell `listener` of each run that this process ends, when it ends. Other processes tell of theirs."""
        self._end_listeners.append(listener)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _migrate(self) -> None:
        from acestep_flows.api.store.versions import migrate  # alembic is slow to import

        lock: Any = contextlib.nullcontext()
        if self._sqlite and self.url.database:
            lock = FileLock(f"{self.url.database}.lock")  # two processes must not enable the WAL at once
        with lock, self.write() as connection:
            migrate(connection)


def upsert(
    connection: Connection, table: Table, row: Mapping[str, Any] | list[dict[str, Any]], changes: Mapping[str, Any]
) -> Insert:
    """A statement that inserts a row or several, or makes `changes` to those with the same primary key."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    inserted: Any = dialect.insert(table).values(row)
    statement: Insert = inserted.on_conflict_do_update(index_elements=[*table.primary_key], set_=changes)
    return statement


def _configure_sqlite(connection: Any, record: Any) -> None:
    """Configure a SQLite connection. The driver must not begin transactions of its own."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout={int(BUSY_SECONDS * 1000)}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_transaction(connection: Connection) -> None:
    """Begin a transaction. Writers lock at once: a reader that later writes may have read an old state."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextlib.contextmanager
def _translate_errors(action: str) -> Iterator[None]:
    """Raise errors of the driver as StorageError or Unavailable."""
    try:
        yield
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
        raise  # an error of the caller, not of the database
    except (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError, OSError) as error:
        reason = getattr(error, "orig", None) or error
        kind = StorageError if _disk_is_full(reason) else Unavailable
        raise kind.hiding(f"the database cannot be {action}", without_login(str(reason).strip())) from error


def _disk_is_full(reason: Any) -> bool:
    """Whether the disk is full. Retrying does not help then."""
    return (
        getattr(reason, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(reason, "sqlstate", None) == "53100"  # disk_full of PostgreSQL
        or getattr(reason, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    )
