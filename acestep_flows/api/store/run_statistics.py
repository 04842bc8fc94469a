"""What metrics tell of a run that ended, read from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, select

from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.rows import NewEvents
from acestep_flows.api.store.schema import ASSETS, EVENTS, NODES, RUNS

STATISTICS_COLUMNS = [
    RUNS.c[name] for name in ("id", "graph", "state", "created_at", "started_at", "finished_at", "seconds", "error")
]
"""Columns of a run that its statistics are made of."""

_OF_THE_QUEUE = ("queued", "started")
"""Types of the events that say how long a node waited for its stage."""


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


def run_statistics(
    connection: Connection, runs: Sequence[Any], new_events: NewEvents = MappingProxyType({})
) -> tuple[RunStatistics, ...]:
    """The statistics of runs that have ended.

    Args:
        runs: rows of STATISTICS_COLUMNS, or what has the same fields.
        new_events: events that are not written yet.
    """
    ids = [run.id for run in runs]
    if not ids:
        return ()
    waited = _queue_seconds(connection, ids, new_events)
    nodes: dict[str, list[NodeStatistics]] = {id: [] for id in ids}
    columns = (NODES.c.run, NODES.c.id, NODES.c.stage, NODES.c.state, NODES.c.seconds)
    for node in connection.execute(select(*columns).where(NODES.c.run.in_(ids))):
        nodes[node.run].append(NodeStatistics(node.stage, node.state, waited.get((node.run, node.id)), node.seconds))
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


def _queue_seconds(connection: Connection, runs: Sequence[str], new_events: NewEvents) -> dict[tuple[str, str], float]:
    """Seconds that nodes waited for their stage, by run and node. If a node started again, the last wait counts."""
    query = (
        select(EVENTS.c.run, EVENTS.c.type, EVENTS.c.time, EVENTS.c.body)
        .where(EVENTS.c.run.in_(runs), EVENTS.c.type.in_(_OF_THE_QUEUE))
        .order_by(EVENTS.c.run, EVENTS.c.seq)
    )
    events = [(row.run, row.type, row.time, row.body["node"]) for row in connection.execute(query)]
    events += [
        (run, type, body["time"], body["node"])
        for run in runs
        for type, body in new_events.get(run, ())
        if type in _OF_THE_QUEUE
    ]
    queued: dict[tuple[str, str], float] = {}
    waited: dict[tuple[str, str], float] = {}
    for run, type, time, node in events:
        if type == "queued":
            queued[run, node] = time
        elif (run, node) in queued:
            waited[run, node] = max(0.0, time - queued.pop((run, node)))
    return waited


def _by_kind(files: Sequence[tuple[str, int, float | None]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for kind, size, _ in files:
        total[kind] = total.get(kind, 0) + size
    return total
