"""Writes that end runs and that append events, for several runs at once. The caller opens the transaction.

They lock in the order that `database` states. Events come last, because their counter is locked until the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from acestep_flows.api.store.database import ENDED_RUNS
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.rows import NewEvents, error_json, is_called_at, run_event
from acestep_flows.api.store.run_statistics import ended_runs
from acestep_flows.api.store.schema import COUNTERS, EVENT_NUMBER, EVENTS, NODES, RUNS
from acestep_flows.api.store.usage import count_usage
from acestep_flows.errors import FlowsError

_OPEN_NODES = ("waiting", "queued", "started")


@dataclass(frozen=True)
class RunEnd:
    """How a run ends.

    Attributes:
        events: events before that of the end, which are not written yet.
    """

    run: str
    state: RunState
    error: FlowsError | None = None
    events: Sequence[tuple[str, Mapping[str, Any]]] = ()


def end_runs(connection: Connection, ends: Sequence[RunEnd], now: float, events: NewEvents | None = None) -> None:
    """End runs. The caller holds their rows and has checked, in the same transaction, that they have not ended.

    Args:
        events: events of other runs that are to be written too.
    """
    if not ends:
        add_events(connection, events or {})
        return
    ids = [end.run for end in ends]
    columns = RUNS.c.id, RUNS.c.owner, RUNS.c.started_at, RUNS.c.webhook
    before = {row.id: row for row in connection.execute(select(*columns).where(RUNS.c.id.in_(ids)))}
    # An executor that died did not end its nodes.
    broken = [end.run for end in ends if end.state is not RunState.SUCCEEDED]
    if broken:
        open_nodes = NODES.c.run.in_(broken), NODES.c.state.in_(_OPEN_NODES)
        connection.execute(update(NODES).where(*open_nodes).values(state="cancelled"))
    connection.execute(
        _ENDING, [_ended_row(end, before[end.run], now) for end in sorted(ends, key=lambda end: end.run)]
    )
    # Read here, because a run may be deleted before anybody asks for metrics.
    connection.info[ENDED_RUNS].extend(ended_runs(connection, ids, {end.run: end.events for end in ends}))
    count_usage(connection, {run: row.owner for run, row in before.items()}, now)
    add_events(connection, {**(events or {}), **{end.run: [*end.events, _end_event(end, now)] for end in ends}})


_ENDING = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run"))
    .values(
        state=bindparam("new_state"),
        finished_at=bindparam("now"),
        seconds=bindparam("took"),
        progress=func.coalesce(bindparam("new_progress"), RUNS.c.progress),
        error=bindparam("new_error"),
        webhook_due=func.coalesce(bindparam("due"), RUNS.c.webhook_due),
        webhook_failures=0,
        executor=None,
        lease_until=None,
    )
)


def _ended_row(end: RunEnd, before: Any, now: float) -> dict[str, Any]:
    return {
        "run": end.run,
        "new_state": end.state.value,
        "now": now,
        "took": None if before.started_at is None else max(0.0, now - before.started_at),
        "new_progress": 1.0 if end.state is RunState.SUCCEEDED else None,
        "new_error": None if end.error is None else error_json(end.error),
        "due": now if is_called_at("completed", before.webhook) else None,
    }


def add_events(connection: Connection, events: NewEvents) -> None:
    """Append events to those of runs. The last write of a transaction."""
    counts = {run: len(new) for run, new in sorted(events.items()) if new}
    if not counts:
        return
    held = select(RUNS.c.id, RUNS.c.last_event).where(RUNS.c.id.in_(counts)).order_by(RUNS.c.id).with_for_update()
    last = {row.id: int(row.last_event) for row in connection.execute(held)}
    connection.execute(
        update(RUNS).where(RUNS.c.id == bindparam("run")).values(last_event=bindparam("last")),
        [{"run": run, "last": last[run] + count} for run, count in counts.items()],
    )
    total = sum(counts.values())
    head = connection.execute(
        update(COUNTERS)
        .where(COUNTERS.c.name == EVENT_NUMBER)
        .values(value=COUNTERS.c.value + total)
        .returning(COUNTERS.c.value)
    ).scalar_one()
    number = int(head) - total
    rows = [
        {"run": run, "seq": last[run] + at, "type": type, "time": body["time"], "body": dict(body)}
        for run in counts
        for at, (type, body) in enumerate(events[run], 1)
    ]
    connection.execute(insert(EVENTS), [row | {"number": number + at} for at, row in enumerate(rows, 1)])


def _end_event(end: RunEnd, now: float) -> tuple[str, dict[str, Any]]:
    more: dict[str, Any] = {"progress": 1.0} if end.state is RunState.SUCCEEDED else {}
    if end.error is not None:
        more["error"] = error_json(end.error)
    return run_event(end.state.value, now, **more)
