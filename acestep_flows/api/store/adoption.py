"""Adoption: what was made while a server had no API keys gets an owner."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from acestep_flows.api.store.audit import note
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import UsageRecord
from acestep_flows.api.store.runs import RunTable
from acestep_flows.api.store.schema import ASSETS, RUNS, USAGE
from acestep_flows.api.store.usage import add_usage

NOBODY = ""
"""The owner of runs and assets of a server without keys."""


@dataclass(frozen=True)
class Adopted:
    """How many runs and uploads got an owner."""

    runs: int
    uploads: int


def unseen_runs(table: RunTable) -> str:
    """A line about runs that no caller of a server with API keys sees; empty if there are none."""
    count = sum(table.counts(NOBODY).values())
    if not count:
        return ""
    runs = "1 run" if count == 1 else f"{count} runs"
    return f"{runs} of the time without API keys: no key sees them until `acestep-flows adopt NAME` gives them to one"


def adopt(database: Database, owner: str, who: str = "") -> Adopted:
    """Give all runs and assets without an owner to `owner`, with their usage.

    An idempotency key that the owner has used too is dropped from the adopted run.

    Args:
        who: does this, for the audit log.
    """
    unowned = RUNS.c.owner == NOBODY
    with database.write() as connection:
        taken = select(RUNS.c.idempotency_key).where(RUNS.c.owner == owner, RUNS.c.idempotency_key.is_not(None))
        keys = connection.execute(taken).scalars().all()
        connection.execute(update(RUNS).where(unowned, RUNS.c.idempotency_key.in_(keys)).values(idempotency_key=None))
        runs = connection.execute(update(RUNS).where(unowned).values(owner=owner)).rowcount
        mine = {"owner": owner}
        uploads = connection.execute(
            update(ASSETS).where(ASSETS.c.owner == NOBODY, ASSETS.c.run.is_(None)).values(mine)
        ).rowcount
        connection.execute(update(ASSETS).where(ASSETS.c.owner == NOBODY).values(mine))
        for day in connection.execute(select(USAGE).where(USAGE.c.owner == NOBODY)).all():
            used = UsageRecord(owner, day.runs, day.music_seconds, day.compute_seconds)
            add_usage(connection, day.day, [used])
        connection.execute(delete(USAGE).where(USAGE.c.owner == NOBODY))
        note(connection, time.time(), who, "runs.adopted", owner, runs=runs, uploads=uploads)
    return Adopted(runs, uploads)
