"""The database: a SQLite file by default, PostgreSQL by URL, with the same code.

SQLite allows one writer at a time. On PostgreSQL a writer chooses: `write` has no other writer beside it, so that what
it read still holds when it commits; `write_beside` runs beside others of its kind, and locks the rows it depends on.
An advisory lock keeps the two kinds apart.

A committed transaction is on disk, unless its writer can do without (`durable=False`): then a power cut of the
database's machine may take it back, though the end of a process cannot. Commits stay in order: what is on disk has all
that was committed before it.

Transactions of `write_beside` lock in one order, or they would wait for each other for ever: runs by id, then usage,
then the counter of events, which is held until the commit.
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
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

LOOK_SECONDS = 0.001
"""How often a writer of SQLite looks whether that of another process has ended."""

CONNECT_SECONDS = 5
"""How long PostgreSQL may take to accept a connection, unless the URL says otherwise."""

IDLE_SECONDS = 1.0
"""A connection to PostgreSQL that was idle for longer is tested before it is used again."""

ENDED_RUNS = "ended_runs"
"""In the `info` of a connection: the statistics of the runs that its transaction ends."""

EndListener: TypeAlias = Callable[[Sequence[RunStatistics]], None]
"""Told of runs that this process has ended, once their transaction is committed. Called from any thread."""

_DURABLE, _USED = "durable", "used"
"""In the `info` of a connection: whether its commits are flushed (SQLite), and when it was last used (PostgreSQL)."""

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
            self._engine = create_engine(self.url, connect_args=waits, pool_size=8)
            if self._sqlite:
                event.listen(self._engine, "connect", _configure_sqlite)
                event.listen(self._engine, "begin", _begin_transaction)
            else:
                event.listen(self._engine, "checkin", _note_use)
                event.listen(self._engine, "checkout", partial(_test_idle, self._engine.dialect))
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
        with self._begin_write([func.pg_advisory_xact_lock(_WRITERS)]) as connection:
            yield connection

    @contextlib.contextmanager
    def write_beside(self, turn: int | None = None, *, durable: bool = True) -> Iterator[Connection]:
        """Open a write transaction that may run beside others of this method. The caller locks the rows it depends on.

        Args:
            turn: key of a lock; transactions with the same one follow one another.
            durable: whether the transaction must be on disk when it is committed. One that need not costs no flush.

        Raises:
            StorageError: the disk is full.
            Unavailable: the database stayed locked for BUSY_SECONDS, or cannot be reached.
        """
        first: list[Any] = [func.pg_advisory_xact_lock_shared(_WRITERS)]
        if turn is not None:
            first.append(func.pg_advisory_xact_lock(turn))
        if not durable:
            first.append(func.set_config("synchronous_commit", "off", True))  # of this transaction alone
        with self._begin_write(first, durable) as connection:
            yield connection

    @contextlib.contextmanager
    def _begin_write(self, first: Sequence[Any], durable: bool = True) -> Iterator[Connection]:
        """Open a write transaction. On PostgreSQL it calls the functions of `first` at its begin."""
        # Writers of this process wait here, without a connection. SQLite's own wait is for writers of other processes.
        lock = self._write_lock.hold(BUSY_SECONDS) if self._sqlite else contextlib.nullcontext()
        ended: list[RunStatistics] = []
        with _translate_errors("written"), lock, self._engine.connect() as reader:
            connection = reader.execution_options(writes=True, durable=durable)
            with connection.begin():
                if not self._sqlite:
                    connection.execute(select(*first))
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


def upsert(dialect: str, table: Table, changes: Callable[[Any], Mapping[str, Any]]) -> Insert:
    """A statement that inserts rows, its parameters, or changes those that are there with the same primary key.

    Args:
        dialect: of the connection.
        changes: given the columns of a row that could not be inserted, returns the new values by name of column.
    """
    inserted: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    statement: Insert = inserted.on_conflict_do_update(
        index_elements=[*table.primary_key], set_=changes(inserted.excluded)
    )
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
    options = connection.get_execution_options()
    if not options.get("writes", False):
        connection.exec_driver_sql("BEGIN")
        return
    durable = options["durable"]
    if connection.info.get(_DURABLE, True) != durable:
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        connection.info[_DURABLE] = durable
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout=0").close()
    try:
        _lock_alone(driver)
    finally:
        driver.execute(f"PRAGMA busy_timeout={int(BUSY_SECONDS * 1000)}").close()


def _lock_alone(driver: sqlite3.Connection) -> None:
    """Begin a transaction when no other process writes. SQLite itself would look less and less often, and lose time."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE").close()
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without details
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise exc.OperationalError("BEGIN IMMEDIATE", None, error) from error
            time.sleep(LOOK_SECONDS)
        else:
            return


def _note_use(connection: Any, record: Any) -> None:
    record.info[_USED] = time.monotonic()


def _test_idle(dialect: Any, connection: Any, record: Any, proxy: Any) -> None:
    """Test a connection that was idle. If it is broken, the pool opens all connections anew."""
    used = record.info.get(_USED)
    if used is None or time.monotonic() - used < IDLE_SECONDS:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise exc.InvalidatePoolError from error


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
