"""How many more runs the queue and its owners may take, within one transaction that accepts runs."""

from __future__ import annotations

from collections import Counter

from sqlalchemy import ColumnElement, Connection, func, select

from acestep_flows.api.store.queue_estimate import typical_seconds
from acestep_flows.api.store.records import UNFINISHED, QueueLimits, RunState
from acestep_flows.api.store.schema import RUNS
from acestep_flows.errors import Overloaded, RateLimited

SHORTEST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds after which a caller that is refused may ask again."""


class QueueRoom:
    """Counts runs once, and then with those that the transaction accepts. No other one accepts runs meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._queued: int | None = None
        self._owned: Counter[str] = Counter()

    def check(self, owner: str, limits: QueueLimits) -> None:
        """Refuse another run if a limit is reached.

        Raises:
            Overloaded: the queue is full.
            RateLimited: the owner has too many runs.
        """
        if limits.queued is not None and self._queued_now() >= limits.queued:
            raise Overloaded(
                f"the queue is full: {self._queued_now()} runs wait; try again later", retry_after=self._wait()
            )
        if limits.owned is not None and self._owned_now(owner) >= limits.owned:
            runs, are = ("run", "is") if limits.owned == 1 else ("runs", "are")
            raise RateLimited(
                f"{limits.owned} {runs} of this key {are} queued or running, which is its limit",
                retry_after=self._wait(),
                limit="runs",
            )

    def take(self, owner: str) -> None:
        """Count a run that was accepted."""
        if self._queued is not None:
            self._queued += 1
        if owner in self._owned:
            self._owned[owner] += 1

    def _queued_now(self) -> int:
        if self._queued is None:
            self._queued = self._count(RUNS.c.state == RunState.QUEUED.value)
        return self._queued

    def _owned_now(self, owner: str) -> int:
        if owner not in self._owned:
            self._owned[owner] = self._count(RUNS.c.owner == owner, RUNS.c.state.in_(UNFINISHED))
        return self._owned[owner]

    def _count(self, *where: ColumnElement[bool]) -> int:
        counted = select(func.count()).select_from(RUNS).where(*where)
        return int(self._connection.execute(counted).scalar_one())

    def _wait(self) -> float:
        typical = typical_seconds(self._connection, None) or SHORTEST_WAIT
        return min(max(typical, SHORTEST_WAIT), LONGEST_WAIT)
