"""When a run will end, estimated from the durations of earlier runs."""

from __future__ import annotations

import statistics
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from acestep_flows.api.store.claims import queue_order
from acestep_flows.api.store.records import QueueEstimate, RunState
from acestep_flows.api.store.schema import EXECUTORS, RUNS

REMEMBERED = 20
"""How many of the latest runs the median duration is taken over."""

ALIVE_SECONDS = 60.0
"""An executor that was not seen for longer than this does not count."""


def typical_seconds(connection: Connection, graph: str | None, owner: str | None = None) -> float | None:
    """Median seconds of the succeeded runs of `graph` (None: of any graph) accepted last; None if there are none.

    Args:
        owner: whose runs count; None counts all.
    """
    latest = select(RUNS.c.seconds).where(RUNS.c.state == RunState.SUCCEEDED.value, RUNS.c.seconds.is_not(None))
    if owner is not None:
        latest = latest.where(RUNS.c.owner == owner)
    if graph is not None:
        latest = latest.where(RUNS.c.graph == graph)
    seconds = connection.execute(latest.order_by(RUNS.c.id.desc()).limit(REMEMBERED)).scalars().all()
    return statistics.median(float(each) for each in seconds if each is not None) if seconds else None


def estimate_run(connection: Connection, row: Row[Any], now: float, alone: bool = False) -> QueueEstimate:
    """Queue position and remaining seconds of one run, computed as if all runs had one owner.

    Args:
        alone: estimate the run itself from runs of its owner only.
    """
    if RunState(row.state).ended:
        return QueueEstimate(None, None)
    typical = _TypicalSeconds(connection)
    own = _own_seconds(connection, row) if alone else typical(row.graph, row.expected_seconds)
    if row.state == RunState.RUNNING:
        return QueueEstimate(None, None if own is None else own * (1 - row.progress))
    queued = RUNS.c.state == RunState.QUEUED.value
    own_turn = select(queue_order()).where(RUNS.c.id == row.id).scalar_subquery()
    before = or_(queue_order() < own_turn, and_(queue_order() == own_turn, RUNS.c.id < row.id))
    ahead = connection.execute(
        select(RUNS.c.graph, RUNS.c.expected_seconds, func.count())
        .where(queued, before)
        .group_by(RUNS.c.graph, RUNS.c.expected_seconds)
    ).all()
    position = sum(int(count) for _, _, count in ahead)
    working = connection.execute(
        select(RUNS.c.graph, RUNS.c.expected_seconds, RUNS.c.progress).where(RUNS.c.state == RunState.RUNNING.value)
    ).all()
    takes = [(typical(graph, expected), float(count)) for graph, expected, count in ahead]
    takes += [(typical(graph, expected), 1 - float(progress)) for graph, expected, progress in working]
    if own is None or any(seconds is None for seconds, _ in takes):
        return QueueEstimate(position, None)
    slots = connection.execute(
        select(func.sum(EXECUTORS.c.slots)).where(EXECUTORS.c.seen_at > now - ALIVE_SECONDS)
    ).scalar_one()
    wait = sum((seconds or 0.0) * share for seconds, share in takes) / max(1, int(slots or 1))
    return QueueEstimate(position, wait + own)


def _own_seconds(connection: Connection, row: Row[Any]) -> float | None:
    seconds = typical_seconds(connection, row.graph, row.owner)
    return seconds if seconds is not None else typical_seconds(connection, None, row.owner)


class _TypicalSeconds:
    """Seconds that a run takes: its expected seconds, else its graph's median, else the median of all runs.

    Medians are looked up once for each graph.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str | None, float | None] = {}

    def __call__(self, graph: str, expected: float | None) -> float | None:
        if expected is not None:
            return expected
        median = self._median(graph)
        return median if median is not None else self._median(None)

    def _median(self, graph: str | None) -> float | None:
        if graph not in self._known:
            self._known[graph] = typical_seconds(self._connection, graph)
        return self._known[graph]
