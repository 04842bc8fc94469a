"""Counts over the store, for whoever watches a server: what stages are at, and which runs ended lately."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import ENDED, RunState
from acestep_flows.api.store.schema import ASSETS, EVENTS, EXECUTORS, NODES, RUNS

PAGE = 500
"""Runs read at once."""


@dataclass(frozen=True)
class NodeFigure:
    """One node of a run that is over.

    Attributes:
        waited: seconds between its inputs being there and its start; None where it was not computed.
        seconds: what the stage worked.
    """

    stage: str
    state: str
    waited: float | None
    seconds: float | None


@dataclass(frozen=True)
class RunFigure:
    """One run that is over.

    Attributes:
        waited: seconds in the queue; None when it never started.
        seconds: from start to end.
        audio_seconds: of the longest audio it gave; None when it gave none.
        output_bytes: by kind.
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
    nodes: tuple[NodeFigure, ...]


def stage_figures(database: Database) -> dict[tuple[str, str], int]:
    """Nodes of runs at work that are queued or started, by stage and state."""
    counted = (
        select(NODES.c.stage, NODES.c.state, func.count())
        .join(RUNS, RUNS.c.id == NODES.c.run)
        .where(RUNS.c.state == RunState.RUNNING.value, NODES.c.state.in_(("queued", "started")))
        .group_by(NODES.c.stage, NODES.c.state)
    )
    with database.read() as connection:
        return {(row[0], row[1]): int(row[2]) for row in connection.execute(counted)}


def executors_seen(database: Database, since: float) -> int:
    """Executors that said since then that they are there."""
    counted = select(func.count()).select_from(EXECUTORS).where(EXECUTORS.c.seen_at >= since)
    with database.read() as connection:
        return int(connection.execute(counted).scalar_one())


def ended_since(database: Database, moment: float, known: Container[str] = ()) -> Iterator[RunFigure]:
    """Runs that ended at `moment` or later and are not `known`, the earliest first, however many there are."""
    last = (moment, "")
    while True:
        page = _ended(database, *last)
        yield from _figures(database, [run for run in page if run.id not in known])
        if len(page) < PAGE:
            return
        last = page[-1].finished_at, page[-1].id


def _ended(database: Database, moment: float, after: str) -> Sequence[Any]:
    """The next runs by time of their end and id; many may have ended at one moment."""
    shown = (RUNS.c.id, RUNS.c.graph, RUNS.c.state, RUNS.c.created_at, RUNS.c.started_at, RUNS.c.finished_at)
    later = or_(RUNS.c.finished_at > moment, and_(RUNS.c.finished_at == moment, RUNS.c.id > after))
    ended = (
        select(*shown, RUNS.c.seconds, RUNS.c.error)
        .where(RUNS.c.state.in_([state.value for state in ENDED]), later)
        .order_by(RUNS.c.finished_at, RUNS.c.id)
        .limit(PAGE)
    )
    with database.read() as connection:
        return connection.execute(ended).all()


def _figures(database: Database, runs: Sequence[Any]) -> tuple[RunFigure, ...]:
    ids = [run.id for run in runs]
    if not ids:
        return ()
    with database.read() as connection:
        waited = _waited(connection, ids)
        nodes: dict[str, list[NodeFigure]] = {id: [] for id in ids}
        shown = (NODES.c.run, NODES.c.id, NODES.c.stage, NODES.c.state, NODES.c.seconds)
        for node in connection.execute(select(*shown).where(NODES.c.run.in_(ids))):
            nodes[node.run].append(NodeFigure(node.stage, node.state, waited.get((node.run, node.id)), node.seconds))
        files: dict[str, list[tuple[str, int, float | None]]] = {id: [] for id in ids}
        for row in connection.execute(
            select(ASSETS.c.run, ASSETS.c.kind, ASSETS.c.bytes, ASSETS.c.details).where(ASSETS.c.run.in_(ids))
        ):
            files[row.run].append((row.kind, row.bytes, row.details.get("seconds")))
    return tuple(
        RunFigure(
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


def _waited(connection: Connection, runs: Sequence[str]) -> dict[tuple[str, str], float]:
    """Seconds that nodes waited for their stage, by run and node; of one that began anew, the last time."""
    told = (
        select(EVENTS.c.run, EVENTS.c.type, EVENTS.c.time, EVENTS.c.body)
        .where(EVENTS.c.run.in_(runs), EVENTS.c.type.in_(("queued", "started")))
        .order_by(EVENTS.c.run, EVENTS.c.seq)
    )
    queued: dict[tuple[str, str], float] = {}
    waited: dict[tuple[str, str], float] = {}
    for row in connection.execute(told):
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
