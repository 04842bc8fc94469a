"""Writes and reads the nodes of several runs at once. The caller opens the transaction and has locked the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from sqlalchemy import Connection, Insert, insert, select, update

from acestep_flows.api.store.database import upsert
from acestep_flows.api.store.records import NodeRecord
from acestep_flows.api.store.rows import node_record
from acestep_flows.api.store.schema import NODES

SETTLED = frozenset({"finished", "cached", "skipped"})
"""States of nodes that do not run again."""

_CHANGING = ("state", "step", "steps", "seconds", "started_at", "finished_at", "error")


def add_nodes(connection: Connection, nodes: Mapping[str, Sequence[NodeRecord]]) -> None:
    """Write the nodes of runs that have none."""
    rows = [_row(run, at, node) for run, records in nodes.items() for at, node in enumerate(records)]
    if rows:
        connection.execute(insert(NODES), rows)


def write_nodes(connection: Connection, nodes: Mapping[str, Mapping[int, NodeRecord]]) -> None:
    """Write nodes of runs, by their position in the plan. Those that are not there yet are added."""
    rows = [_row(run, at, node) for run, changed in sorted(nodes.items()) for at, node in sorted(changed.items())]
    if rows:
        connection.execute(_writing(connection.dialect.name), rows)


@cache
def _writing(dialect: str) -> Insert:
    return upsert(dialect, NODES, lambda new: {name: new[name] for name in _CHANGING})


def reset_nodes(connection: Connection, runs: Sequence[str]) -> None:
    """Let the nodes that have not settled wait again."""
    reset = {"state": "waiting", "step": None, "steps": None, "started_at": None, "error": None}
    connection.execute(update(NODES).where(NODES.c.run.in_(runs), NODES.c.state.not_in(SETTLED)).values(reset))


def nodes_of(connection: Connection, runs: Sequence[str]) -> dict[str, tuple[NodeRecord, ...]]:
    """The nodes of runs, in the order of their plans."""
    nodes: dict[str, list[NodeRecord]] = {run: [] for run in runs}
    for row in connection.execute(select(NODES).where(NODES.c.run.in_(runs)).order_by(NODES.c.run, NODES.c.position)):
        nodes[row.run].append(node_record(row))
    return {run: tuple(records) for run, records in nodes.items()}


def _row(run: str, position: int, node: NodeRecord) -> dict[str, object]:
    named = {name: getattr(node, name) for name in ("id", "stage", *_CHANGING)}
    return {"run": run, "position": position, **named}
