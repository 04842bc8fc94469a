"""Databases for tests: SQLite in a file, and PostgreSQL if the server and its driver are installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import Leases
from acestep_flows.api.store.runs import RunTable
from tests.api.store.clock import Clock
from tests.api.store.with_tables import FILE, home_with_tables, new_postgres

STARTING_SECONDS = 60.0


def _programs() -> Path | None:
    """The folder with the programs of PostgreSQL: that of `initdb` on the PATH, or the newest Debian package."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path is not None else []
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(packaged, key=lambda folder: [int(part) for part in re.findall(r"\d+", folder.parent.name)])[::-1]
    return next((folder for folder in folders if os.access(folder / "postgres", os.X_OK)), None)


def _unprivileged() -> tuple[int, int] | None:
    """User and group that run the server, because it refuses root. None is the current user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
    pytest.skip("PostgreSQL refuses root, and there is neither a user postgres nor nobody")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a new PostgreSQL server that listens on a socket only."""
    psycopg = pytest.importorskip("psycopg", reason="no psycopg", exc_type=ImportError)
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server on the PATH or in /usr/lib/postgresql")
    user = _unprivileged()
    as_user: dict[str, Any] = {"cwd": "/"}
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has room for 107 characters
    try:
        if user is not None:
            os.chown(folder, *user)
            as_user |= {"user": user[0], "group": user[1], "extra_groups": []}
        data, log = folder / "data", folder / "log"
        initdb = [
            programs / "initdb",
            "-D",
            data,
            "-U",
            "flows",
            "--auth=trust",
            "--no-sync",
            "--no-locale",
            "-E",
            "UTF8",
        ]
        subprocess.run([str(part) for part in initdb], check=True, capture_output=True, **as_user)
        postgres_command = [
            programs / "postgres",
            "-D",
            data,
            "-k",
            folder,
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
        ]
        started = [str(part) for part in postgres_command]
        url = f"postgresql://flows@/postgres?host={folder}"
        with log.open("wb") as output, subprocess.Popen(started, stdout=output, stderr=output, **as_user) as server:
            try:
                _wait(server, lambda: psycopg.connect(url).close(), psycopg.OperationalError, log)
                yield url
            finally:
                server.send_signal(signal.SIGQUIT)  # at once: its files are removed below
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen[Any], reach: Callable[[], None], refused: type[Exception], log: Path) -> None:
    end = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            return reach()
        except refused:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database; for a test that takes `database` too, that one."""
    tables = "database" in request.fixturenames
    if request.param == "sqlite":
        if tables:
            home_with_tables(tmp_path)
        return f"sqlite:///{tmp_path / FILE}"
    server: str = request.getfixturevalue("postgres")
    pytest.importorskip("psycopg")
    return new_postgres(server, tables=tables)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A database with its tables."""
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def table(database: Database, clock: Clock) -> RunTable:
    return RunTable(database, clock)


@pytest.fixture
def leases(database: Database, clock: Clock) -> Leases:
    return Leases(database, 20.0, clock)
