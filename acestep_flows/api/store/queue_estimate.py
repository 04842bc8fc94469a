"""When a run may be expected, by what earlier runs took."""

from __future__ import annotations

import statistics
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from acestep_flows.api.store.leases import turn
from acestep_flows.api.store.records import Outlook, RunState
from acestep_flows.api.store.schema import EXECUTORS, RUNS

REMEMBERED = 20
"""Latest runs whose median is what a run takes."""

ALIVE_SECONDS = 60.0
"""An executor not heard of for longer does not count."""


def typical_seconds(connection: Connection, graph: str | None) -> float | None:
    """The median of the latest runs of `graph` (None: of any) that succeeded; None where there is none."""
    latest = select(RUNS.c.seconds).where(RUNS.c.state == RunState.SUCCEEDED.value, RUNS.c.seconds.is_not(None))
    if graph is not None:
        latest = latest.where(RUNS.c.graph == graph)
    seconds = connection.execute(latest.order_by(RUNS.c.finished_at.desc()).limit(REMEMBERED)).scalars().all()
    return statistics.median(float(each) for each in seconds if each is not None) if seconds else None


def outlook(connection: Connection, row: Row[Any], now: float) -> Outlook:
    """Queue position and seconds to go of one run, as if all runs were of one owner."""
    if RunState(row.state).ended:
        return Outlook(None, 0.0)
    typical = _Typical(connection)
    own = typical(row.graph, row.expected_seconds)
    if row.state == RunState.RUNNING:
        return Outlook(None, None if own is None else own * (1 - row.progress))
    queued = RUNS.c.state == RunState.QUEUED.value
    own_turn = select(turn()).where(RUNS.c.id == row.id).scalar_subquery()
    before = or_(turn() < own_turn, and_(turn() == own_turn, RUNS.c.id < row.id))
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
        return Outlook(position, None)
    slots = connection.execute(
        select(func.sum(EXECUTORS.c.slots)).where(EXECUTORS.c.seen_at > now - ALIVE_SECONDS)
    ).scalar_one()
    wait = sum((seconds or 0.0) * share for seconds, share in takes) / max(1, int(slots or 1))
    return Outlook(position, wait + own)


class _Typical:
    """What runs take, each graph looked up once: what was foreseen, the graph's median, that of all runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str | None, float | None] = {}

    def __call__(self, graph: str, expected: float | None) -> float | None:
        if expected is not None:
            return expected
        found = self._of(graph)
        return found if found is not None else self._of(None)

    def _of(self, graph: str | None) -> float | None:
        if graph not in self._known:
            self._known[graph] = typical_seconds(self._connection, graph)
        return self._known[graph]
