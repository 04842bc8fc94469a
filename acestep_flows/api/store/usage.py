"""Usage by owner: a ledger by day, written when a run ends. It stays when the run is forgotten."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache

from sqlalchemy import Connection, Insert, func, select

from acestep_flows.api.store.database import Database, upsert
from acestep_flows.api.store.records import UNFINISHED, UsageRecord
from acestep_flows.api.store.schema import RUNS, USAGE

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

    def active_by_owner(self) -> dict[str, int]:
        """The number of queued and running runs of each owner who has any."""
        # An expression, or SQLite would read the whole index of owners to have them in order.
        owner = RUNS.c.owner.concat("").label("owner")
        query = select(owner, func.count()).where(RUNS.c.state.in_(UNFINISHED)).group_by(owner)
        with self._database.read() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}


def count_usage(
    connection: Connection,
    runs: Mapping[str, str],
    music: Mapping[str, float],
    compute: Mapping[str, float],
    now: float,
) -> None:
    """Add runs that end to the ledger.

    Args:
        runs: the owner of each run.
        music: seconds of the audio outputs of each.
        compute: seconds that the stages of each computed.
    """
    used = {owner: UsageRecord(owner, count, 0.0, 0.0) for owner, count in Counter(runs.values()).items()}
    for run, owner in runs.items():
        more = used[owner]
        used[owner] = replace(
            more,
            music_seconds=more.music_seconds + music[run],
            compute_seconds=more.compute_seconds + compute[run],
        )
    add_usage(connection, int(now // DAY), [used[owner] for owner in sorted(used)])


def add_usage(connection: Connection, day: int, used: Sequence[UsageRecord]) -> None:
    """Add to one day of owners, who are in order."""
    connection.execute(_adding(connection.dialect.name), [{**asdict(record), "day": day} for record in used])


@cache
def _adding(dialect: str) -> Insert:
    columns = "runs", "music_seconds", "compute_seconds"
    return upsert(dialect, USAGE, lambda new: {name: USAGE.c[name] + new[name] for name in columns})
