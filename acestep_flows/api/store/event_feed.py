"""The events of all runs of an owner in one order, for a client that follows everything."""

from __future__ import annotations

from sqlalchemy import select

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import NumberedEvent, RunState, StoredEvent
from acestep_flows.api.store.schema import COUNTERS, EVENT_NUMBER, EVENTS, RUNS

MOST_NEWS = 5000
"""Events that are read at once to know which runs have some. More are left to the next read."""


class EventFeed:
    """Reads events by their number, which counts the events of all runs. The methods block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> int:
        """The number of the latest event of any run."""
        with self._database.read() as connection:
            return int(connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == EVENT_NUMBER)).scalar_one())

    def runs_with_news(self, after: int) -> tuple[set[str], int]:
        """Runs with events whose number is greater than `after`, and the number to go on after."""
        newer = select(EVENTS.c.run, EVENTS.c.number).where(EVENTS.c.number > after)
        with self._database.read() as connection:
            rows = connection.execute(newer.order_by(EVENTS.c.number).limit(MOST_NEWS)).all()
        return {row.run for row in rows}, rows[-1].number if rows else after

    def has_ended(self, run: str) -> bool:
        """Whether a run has ended, or is no longer known."""
        with self._database.read() as connection:
            state = connection.execute(select(RUNS.c.state).where(RUNS.c.id == run)).scalar_one_or_none()
        return state is None or RunState(state).ended

    def read(self, owner: str | None, after: int, limit: int = 500) -> tuple[tuple[NumberedEvent, ...], int]:
        """Events with a number greater than `after`, oldest first, and the number to go on after.

        Args:
            owner: whose runs; None is all owners.
        """
        query = select(EVENTS).where(EVENTS.c.number > after).order_by(EVENTS.c.number).limit(limit)
        if owner is not None:
            query = query.join(RUNS, RUNS.c.id == EVENTS.c.run).where(RUNS.c.owner == owner)
        with self._database.read() as connection:
            head = connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == EVENT_NUMBER)).scalar_one()
            if head <= after:
                return (), after
            rows = connection.execute(query).all()
        events = tuple(
            NumberedEvent(row.number, row.run, StoredEvent(row.seq, row.type, row.time, row.body)) for row in rows
        )
        last = events[-1].number if events else after
        # A page that is not full has all events up to the head, so those of other owners are not read again. It may
        # have more: on PostgreSQL the second query sees what was written since the first.
        return events, last if len(events) == limit else max(last, int(head))
