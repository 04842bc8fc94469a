"""Usage by owner: a ledger by day, written when a run ends. It stays when the run is forgotten."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, func, select

from acestep_flows.api.store.database import Database, upsert
from acestep_flows.api.store.records import UNFINISHED, UsageRecord
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
        unfinished = RUNS.c.owner == owner, RUNS.c.state.in_(UNFINISHED)
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(RUNS).where(*unfinished)).scalar_one())


def count_usage(connection: Connection, runs: Mapping[str, str], now: float) -> None:
    """Add runs that end to the ledger. Their outputs and nodes are written already.

    Args:
        runs: the owner of each run.
    """
    ended = Counter(runs.values())
    music, compute = dict.fromkeys(ended, 0.0), dict.fromkeys(ended, 0.0)
    audio = select(ASSETS.c.run, ASSETS.c.details).where(ASSETS.c.run.in_(runs), ASSETS.c.kind == "audio")
    for run, details in connection.execute(audio):
        music[runs[run]] += float(details.get("seconds") or 0.0)
    computed = select(NODES.c.run, func.sum(NODES.c.seconds)).where(NODES.c.run.in_(runs), NODES.c.state == "finished")
    for run, seconds in connection.execute(computed.group_by(NODES.c.run)):
        compute[runs[run]] += float(seconds or 0.0)
    for owner in sorted(ended):
        add_usage(connection, owner, int(now // DAY), ended[owner], music[owner], compute[owner])


def add_usage(connection: Connection, owner: str, day: int, runs: int, music: float, compute: float) -> None:
    """Add to one owner's day."""
    row = {"owner": owner, "day": day, "runs": runs, "music_seconds": music, "compute_seconds": compute}
    more = {
        "runs": USAGE.c.runs + runs,
        "music_seconds": USAGE.c.music_seconds + music,
        "compute_seconds": USAGE.c.compute_seconds + compute,
    }
    connection.execute(upsert(connection, USAGE, row, more))
