"""Trace contexts of runs: that of the request that submitted a run, or of the first attempt at it."""

from __future__ import annotations

from sqlalchemy import select

from acestep_flows.api.store.database import Database, upsert
from acestep_flows.api.store.schema import TRACES


class Traces:
    """The contexts in the database. The methods block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, run: str, traceparent: str) -> None:
        """Store the context of a run, unless it has one."""
        row = {"run": run, "traceparent": traceparent}
        with self._database.write_beside() as connection:
            statement = upsert(connection.dialect.name, TRACES, lambda new: {"traceparent": TRACES.c.traceparent})
            connection.execute(statement, row)

    def of(self, run: str) -> str:
        """The context of a run; empty if it has none."""
        with self._database.read() as connection:
            context = select(TRACES.c.traceparent).where(TRACES.c.run == run)
            return str(connection.execute(context).scalar_one_or_none() or "")
