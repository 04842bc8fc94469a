"""Databases to test with: SQLite in a file, and PostgreSQL where it and its driver are installed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.api.store.database import Database
from tests.api.store.clock import Clock


def _as_postgres() -> dict[str, Any]:
    """PostgreSQL does not run as root; its packages make a user for it."""
    return {"user": "postgres"} if os.geteuid() == 0 else {}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty server of our own, which listens on a socket only."""
    if shutil.which("initdb") is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip("no PostgreSQL server, or no psycopg")
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    who = _as_postgres()
    if who:
        shutil.chown(folder, "postgres")
    try:
        run = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **who)
        run(["initdb", "-D", f"{folder}/data", "-U", "flows", "--auth=trust"])
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run(["pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", options, "start"])
        yield f"postgresql://flows@/postgres?host={folder}"
        run(["pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs.sqlite"
    server: str = request.getfixturevalue("postgres")
    psycopg = pytest.importorskip("psycopg")

    name = "t" + os.urandom(8).hex()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """A database with its tables."""
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
