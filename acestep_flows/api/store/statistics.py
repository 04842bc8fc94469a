"""Counts over the store for metrics: nodes of active runs, live executors, and runs that ended lately."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, literal, select, tuple_

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.listing import latest_runs
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.schema import ASSETS, EVENTS, EXECUTORS, NODES, RUNS

PAGE = 500
"""Runs read in one query."""

_COLUMNS = [
    RUNS.c[name] for name in ("id", "graph", "state", "created_at", "started_at", "finished_at", "seconds", "error")
]

RECENT_RUNS = 200
"""Runs whose nodes say how long stages take."""


@dataclass(frozen=True)
class NodeStatistics:
    """One node of a run that ended.

    Attributes:
        waited: seconds from its inputs being ready to its start; None if it was not computed.
        seconds: how long the stage computed.
    """

    stage: str
    state: str
    waited: float | None
    seconds: float | None


@dataclass(frozen=True)
class RunStatistics:
    """One run that ended.

    Attributes:
        waited: seconds in the queue; None if it never started.
        seconds: from start to end.
        audio_seconds: length of the longest audio output; None if there is none.
        output_bytes: bytes of outputs by kind.
    """

    id: str
    graph: str
    state: RunState
    finished_at: float
    waited: float | None
    seconds: float | None
    error: str
    audio_seconds: float | None
    output_bytes: dict[str, int]
    nodes: tuple[NodeStatistics, ...]


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
        yield from _run_statistics(database, [run for run in page if run.id not in known])
        if len(page) < PAGE:
            return
        last = page[-1].finished_at, page[-1].id


def statistics_of(database: Database, ids: Sequence[str]) -> Iterator[RunStatistics]:
    """The statistics of ended runs. Those that were deleted meanwhile have none."""
    for start in range(0, len(ids), PAGE):
        ended = select(*_COLUMNS).where(RUNS.c.id.in_(ids[start : start + PAGE]), RUNS.c.finished_at.is_not(None))
        with database.read() as connection:
            page = connection.execute(ended).all()
        yield from _run_statistics(database, page)


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
    ended = select(*_COLUMNS).where(later).order_by(RUNS.c.finished_at, RUNS.c.id).limit(PAGE)
    with database.read() as connection:
        return connection.execute(ended).all()


def _run_statistics(database: Database, runs: Sequence[Any]) -> tuple[RunStatistics, ...]:
    ids = [run.id for run in runs]
    if not ids:
        return ()
    with database.read() as connection:
        waited = _queue_seconds(connection, ids)
        nodes: dict[str, list[NodeStatistics]] = {id: [] for id in ids}
        columns = (NODES.c.run, NODES.c.id, NODES.c.stage, NODES.c.state, NODES.c.seconds)
        for node in connection.execute(select(*columns).where(NODES.c.run.in_(ids))):
            nodes[node.run].append(
                NodeStatistics(node.stage, node.state, waited.get((node.run, node.id)), node.seconds)
            )
        files: dict[str, list[tuple[str, int, float | None]]] = {id: [] for id in ids}
        for row in connection.execute(
            select(ASSETS.c.run, ASSETS.c.kind, ASSETS.c.bytes, ASSETS.c.details).where(ASSETS.c.run.in_(ids))
        ):
            files[row.run].append((row.kind, row.bytes, row.details.get("seconds")))
    return tuple(
        RunStatistics(
            id=run.id,
            graph=run.graph,
            state=RunState(run.state),
            finished_at=run.finished_at,
            waited=None if run.started_at is None else max(0.0, run.started_at - run.created_at),
            seconds=run.seconds,
            error=(run.error or {}).get("code", ""),
            audio_seconds=max((s for kind, _, s in files[run.id] if kind == "audio" and s), default=None),
            output_bytes=_by_kind(files[run.id]),
            nodes=tuple(nodes[run.id]),
        )
        for run in runs
    )


def _queue_seconds(connection: Connection, runs: Sequence[str]) -> dict[tuple[str, str], float]:
    """Seconds that nodes waited for their stage, by run and node. If a node started again, the last wait counts."""
    events = (
        select(EVENTS.c.run, EVENTS.c.type, EVENTS.c.time, EVENTS.c.body)
        .where(EVENTS.c.run.in_(runs), EVENTS.c.type.in_(("queued", "started")))
        .order_by(EVENTS.c.run, EVENTS.c.seq)
    )
    queued: dict[tuple[str, str], float] = {}
    waited: dict[tuple[str, str], float] = {}
    for row in connection.execute(events):
        node = (row.run, row.body["node"])
        if row.type == "queued":
            queued[node] = row.time
        elif node in queued:
            waited[node] = max(0.0, row.time - queued.pop(node))
    return waited


def _by_kind(files: Sequence[tuple[str, int, float | None]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for kind, size, _ in files:
        total[kind] = total.get(kind, 0) + size
    return total
