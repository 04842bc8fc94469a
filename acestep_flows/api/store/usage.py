"""Usage by owner: a ledger by day, written when a run ends. It stays when the run is forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, func, insert, select, update

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import UsageRecord
from acestep_flows.api.store.schema import ASSETS, NODES, RUNS, USAGE

DAY = 86_400


class Usage:
    """The ledger in the database. The methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def by_owner(
        self, owner: str | None = None, since: float | None = None, until: float | None = None
    ) -> tuple[UsageRecord, ...]:
        """The usage of each owner, or of one, sorted by name. An owner without runs has no record.

        Args:
            since: seconds since the epoch; the whole day (UTC) counts.
            until: likewise; that day still counts.
        """
        totals = [func.sum(column) for column in (USAGE.c.runs, USAGE.c.music_seconds, USAGE.c.compute_seconds)]
        query = select(USAGE.c.owner, *totals).group_by(USAGE.c.owner).order_by(USAGE.c.owner)
        if owner is not None:
            query = query.where(USAGE.c.owner == owner)
        if since is not None:
            query = query.where(USAGE.c.day >= since // DAY)
        if until is not None:
            query = query.where(USAGE.c.day <= until // DAY)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return tuple(UsageRecord(row[0], int(row[1]), float(row[2]), float(row[3])) for row in rows)

    def active(self, owner: str) -> int:
        """The number of queued and running runs of an owner."""
        unfinished = RUNS.c.owner == owner, RUNS.c.finished_at.is_(None)
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(RUNS).where(*unfinished)).scalar_one())


def count_usage(connection: Connection, run: str, now: float) -> None:
    """Add a run that ends to the ledger. Its outputs and nodes are written already."""
    owner = connection.execute(select(RUNS.c.owner).where(RUNS.c.id == run)).scalar_one()
    audio = select(ASSETS.c.details).where(ASSETS.c.run == run, ASSETS.c.kind == "audio")
    music = sum(float(details.get("seconds") or 0.0) for details in connection.execute(audio).scalars())
    computed = select(func.sum(NODES.c.seconds)).where(NODES.c.run == run, NODES.c.state == "finished")
    add_usage(connection, owner, int(now // DAY), 1, music, float(connection.execute(computed).scalar_one() or 0.0))


def add_usage(connection: Connection, owner: str, day: int, runs: int, music: float, compute: float) -> None:
    """Add to one owner's day."""
    changed = update(USAGE).where(USAGE.c.owner == owner, USAGE.c.day == day)
    more = {
        "runs": USAGE.c.runs + runs,
        "music_seconds": USAGE.c.music_seconds + music,
        "compute_seconds": USAGE.c.compute_seconds + compute,
    }
    if not connection.execute(changed.values(more)).rowcount:
        row = {"owner": owner, "day": day, "runs": runs, "music_seconds": music, "compute_seconds": compute}
        connection.execute(insert(USAGE).values(row))
