"""Queries for the latest runs with given properties, each read in the order of an index, however long the table is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select, union_all

from acestep_flows.api.store.labels import has_label, split_label
from acestep_flows.api.store.records import ENDED, UNFINISHED, RunState
from acestep_flows.api.store.schema import LABELS, RUNS, TOTALS

_LAST_TIME = 16**14 - 1  # microseconds in an id


def latest_runs(
    limit: int,
    *,
    owner: str | None = None,
    state: RunState | None = None,
    graph: str | None = None,
    labels: Sequence[str] = (),
    created_after: float | None = None,
    created_before: float | None = None,
    after: str | None = None,
) -> Select[tuple[str]]:
    """A query for the ids of the latest runs, newest first. The arguments are those of `RunTable.list`."""
    same = [column == value for column, value in ((RUNS.c.owner, owner), (RUNS.c.graph, graph)) if value is not None]
    ids = RUNS.c.id if not labels else LABELS.c.run
    within = [*_accepted_between(ids, created_after, created_before), *([] if after is None else [ids < after])]
    if labels:
        return _labelled(labels, [*same, *within, *([] if state is None else [RUNS.c.state == state.value])], limit)
    if state is None and not same:
        return select(RUNS.c.id).where(*within).order_by(RUNS.c.id.desc()).limit(limit)
    # The indexes hold the runs of each state in the order of their ids, so the states are read one by one.
    states = RunState if state is None else (state,)
    branches = [
        select(RUNS.c.id)
        .where(*same, RUNS.c.state == each.value, *within)
        .order_by(RUNS.c.id.desc())
        .limit(limit)
        .subquery()
        for each in states
    ]
    merged = union_all(*(select(branch.c.id) for branch in branches)).subquery()
    return select(merged.c.id).order_by(merged.c.id.desc()).limit(limit)


def run_counts(owner: str | None) -> Any:
    """A query for states and numbers of runs: unfinished ones are counted, ended ones have a running total."""
    unfinished = select(RUNS.c.state, func.count()).where(RUNS.c.state.in_(UNFINISHED)).group_by(RUNS.c.state)
    ended = select(TOTALS.c.name, func.sum(TOTALS.c.amount)).where(TOTALS.c.name.in_(ENDED)).group_by(TOTALS.c.name)
    if owner is not None:
        unfinished, ended = unfinished.where(RUNS.c.owner == owner), ended.where(TOTALS.c.owner == owner)
    return union_all(unfinished, ended)


def _labelled(labels: Sequence[str], conditions: Sequence[ColumnElement[bool]], limit: int) -> Select[tuple[str]]:
    """As `latest_runs`, in the order of the index of the first label."""
    name, value = split_label(labels[0])
    first = [LABELS.c.name == name, *([] if value is None else [LABELS.c.value == value])]
    joined = select(LABELS.c.run).join(RUNS, RUNS.c.id == LABELS.c.run)
    others = [has_label(label) for label in labels[1:]]
    return joined.where(*first, *conditions, *others).order_by(LABELS.c.run.desc()).limit(limit)


def _accepted_between(ids: ColumnElement[str], start: float | None, end: float | None) -> Iterator[ColumnElement[bool]]:
    """The SQL conditions that a run was accepted at `start` or later, and before `end`. Its id begins with the time."""
    if start is not None:
        yield ids >= literal(_id_at(start))
        yield RUNS.c.created_at >= start
    if end is not None:
        yield ids < literal(_id_at(end + 2e-6))
        yield RUNS.c.created_at < end


def _id_at(moment: float) -> str:
    """The beginning of the ids of runs that were accepted at a time."""
    return f"run-{min(max(0, int(moment * 1e6)), _LAST_TIME):014x}"
