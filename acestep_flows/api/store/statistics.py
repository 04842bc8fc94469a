"""Counts over the store for metrics: nodes of active runs, live executors, and runs that ended lately."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

from sqlalchemy import func, literal, select, tuple_

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.listing import latest_runs
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.run_statistics import STATISTICS_COLUMNS, RunStatistics, run_statistics
from acestep_flows.api.store.schema import EXECUTORS, NODES, RUNS

PAGE = 500
"""Runs read in one query."""

RECENT_RUNS = 200
"""Runs whose nodes say how long stages take."""


def active_node_counts(database: Database) -> dict[tuple[str, str], int]:
    """Number of queued and started nodes of running runs, by stage and state."""
    counted = (
        select(NODES.c.stage, NODES.c.state, func.count())
        .join(RUNS, RUNS.c.id == NODES.c.run)
        .where(RUNS.c.state == RunState.RUNNING.value, NODES.c.state.in_(("queued", "started")))
        .group_by(NODES.c.stage, NODES.c.state)
    )
    with database.read() as connection:
        return {(row[0], row[1]): int(row[2]) for row in connection.execute(counted)}


def count_executors(database: Database, since: float) -> int:
    """Number of executors that renewed at `since` or later."""
    counted = select(func.count()).select_from(EXECUTORS).where(EXECUTORS.c.seen_at >= since)
    with database.read() as connection:
        return int(connection.execute(counted).scalar_one())


def runs_ended_since(database: Database, moment: float, known: Container[str] = ()) -> Iterator[RunStatistics]:
    """All runs that ended at `moment` or later and are not in `known`, earliest first."""
    last = (moment, "")
    while True:
        page = _ended_page(database, *last)
        with database.read() as connection:
            ended = run_statistics(connection, [run for run in page if run.id not in known])
        yield from ended
        if len(page) < PAGE:
            return
        last = page[-1].finished_at, page[-1].id


def node_durations(database: Database, owner: str) -> list[tuple[str, int | None, float]]:
    """Stage, steps and seconds of the latest finished nodes of an owner's latest runs, earliest first."""
    runs = latest_runs(RECENT_RUNS, owner=owner).subquery()
    latest = (
        select(NODES.c.stage, NODES.c.steps, NODES.c.seconds)
        .where(NODES.c.run.in_(select(runs)), NODES.c.state == "finished", NODES.c.seconds.is_not(None))
        .order_by(NODES.c.run.desc(), NODES.c.position.desc())
        .limit(PAGE)
    )
    with database.read() as connection:
        return [(row[0], row[1], float(row[2])) for row in reversed(connection.execute(latest).all())]


def _ended_page(database: Database, moment: float, after: str) -> Sequence[Any]:
    """One page of ended runs, ordered by end time and id. Many runs may end at one moment, hence the id."""
    later = tuple_(RUNS.c.finished_at, RUNS.c.id) > tuple_(literal(moment), literal(after))
    ended = select(*STATISTICS_COLUMNS).where(later).order_by(RUNS.c.finished_at, RUNS.c.id).limit(PAGE)
    with database.read() as connection:
        return connection.execute(ended).all()
