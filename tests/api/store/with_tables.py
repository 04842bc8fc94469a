"""Databases with tables, as copies of one that was migrated: migrations take most of a short test."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from pathlib import Path

from acestep_flows.api.store.database import Database

FILE = "runs.sqlite"
"""The database in the folder of a home."""


@cache
def _content() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FILE)
        Database.file(path).close()
        return path.read_bytes()


def home_with_tables(root: Path) -> Path:
    """Make the folder of a home with its tables, unless they are there. Returns the folder."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / FILE).exists():
        (root / FILE).write_bytes(_content())
    return root


def new_postgres(server: str, *, tables: bool) -> str:
    """Make a database of a PostgreSQL server, with tables or empty. Returns its URL."""
    return _url(server, _created(server, _template(server) if tables else None))


@cache
def _template(server: str) -> str:
    name = _created(server, None)
    Database(_url(server, name)).close()
    return name


def _created(server: str, template: str | None) -> str:
    import psycopg

    name = "t" + os.urandom(8).hex()
    like = f" TEMPLATE {template}" if template is not None else ""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{like}".encode())
    return name


def _url(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?")
