"""Writes that end runs and that append events, for several runs at once. The caller opens the transaction.

They lock in the order that `database` states. Events come last, because their counter is locked until the commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, update

from acestep_flows.api.store.database import ENDED_RUNS
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.rows import error_json, is_called_at, run_event
from acestep_flows.api.store.run_statistics import run_statistics
from acestep_flows.api.store.schema import COUNTERS, EVENT_NUMBER, EVENTS, NODES, RUNS
from acestep_flows.api.store.usage import count_usage
from acestep_flows.errors import FlowsError

ENDING_COLUMNS = tuple(
    RUNS.c[name] for name in ("id", "graph", "owner", "created_at", "started_at", "webhook", "warnings", "last_event")
)
"""Columns of a row that `end_runs` needs."""

_OPEN_NODES = ("waiting", "queued", "started")


class EventBatch:
    """Events that a transaction appends to those of its runs. `write` is its last write.

    Whoever adds events to a run sets the run's `last_event` to the number that `add` returns.
    """

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def add(self, run: str, last: int, events: Sequence[tuple[str, Mapping[str, Any]]]) -> int:
        """Append events to those of a run. Returns the number of its last event then.

        Args:
            last: the number of its last event until now.
            events: type and body of each. A body has its `time`.
        """
        for at, (type, body) in enumerate(events, last + 1):
            self._rows.append({"run": run, "seq": at, "type": type, "time": body["time"], "body": dict(body)})
        return last + len(events)

    def write(self, connection: Connection) -> None:
        """Write the events, numbered among those of all runs."""
        if not self._rows:
            return
        count = len(self._rows)
        more = update(COUNTERS).where(COUNTERS.c.name == EVENT_NUMBER).values(value=COUNTERS.c.value + count)
        first = int(connection.execute(more.returning(COUNTERS.c.value)).scalar_one()) - count + 1
        connection.execute(insert(EVENTS), [row | {"number": at} for at, row in enumerate(self._rows, first)])


@dataclass(frozen=True)
class RunEnd:
    """How a run ends.

    Attributes:
        events: events before that of the end, which are not written yet.
        progress: 0 to 1 where it is known to have changed.
        warnings: warnings for whoever asked for the run; those that it has already are not repeated.
        music_seconds: length of its audio outputs.
    """

    run: str
    state: RunState
    error: FlowsError | None = None
    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    progress: float | None = None
    warnings: Sequence[str] = ()
    music_seconds: float = 0.0


def end_runs(
    connection: Connection, ends: Sequence[RunEnd], rows: Mapping[str, Any], now: float, events: EventBatch
) -> None:
    """End runs. The caller has locked them in this transaction, and writes the events.

    Args:
        rows: the row of each run, with ENDING_COLUMNS. It has not ended.
    """
    if not ends:
        return
    # An executor that died did not end its nodes.
    broken = [end.run for end in ends if end.state is not RunState.SUCCEEDED]
    if broken:
        open_nodes = NODES.c.run.in_(broken), NODES.c.state.in_(_OPEN_NODES)
        connection.execute(update(NODES).where(*open_nodes).values(state="cancelled"))
    ends = sorted(ends, key=lambda end: end.run)
    changes = {end.run: _ended_row(end, rows[end.run], now, events) for end in ends}
    connection.execute(_ENDING, [*changes.values()])
    # Read here, because a run may be deleted before anybody asks for metrics.
    ended = [_ended_run(rows[run], changed) for run, changed in changes.items()]
    statistics = run_statistics(connection, ended, {end.run: end.events for end in ends})
    connection.info[ENDED_RUNS].extend(statistics)
    compute = {run.id: sum(node.seconds or 0.0 for node in run.nodes if node.state == "finished") for run in statistics}
    owners = {end.run: rows[end.run].owner for end in ends}
    count_usage(connection, owners, {end.run: end.music_seconds for end in ends}, compute, now)


_ENDING = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("run"))
    .values(
        state=bindparam("new_state"),
        finished_at=bindparam("now"),
        seconds=bindparam("took"),
        progress=func.coalesce(bindparam("new_progress"), RUNS.c.progress),
        error=bindparam("new_error"),
        warnings=bindparam("new_warnings"),
        webhook_due=func.coalesce(bindparam("due"), RUNS.c.webhook_due),
        webhook_failures=0,
        executor=None,
        lease_until=None,
        last_event=bindparam("last"),
    )
)


def _ended_row(end: RunEnd, before: Any, now: float, events: EventBatch) -> dict[str, Any]:
    return {
        "run": end.run,
        "new_state": end.state.value,
        "now": now,
        "took": None if before.started_at is None else max(0.0, now - before.started_at),
        "new_progress": 1.0 if end.state is RunState.SUCCEEDED else end.progress,
        "new_error": None if end.error is None else error_json(end.error),
        "new_warnings": [*before.warnings, *(new for new in end.warnings if new not in before.warnings)],
        "due": now if is_called_at("completed", before.webhook) else None,
        "last": events.add(end.run, before.last_event, [*end.events, _end_event(end, now)]),
    }


def _ended_run(before: Any, changed: Mapping[str, Any]) -> Any:
    """The row of a run after its end, as far as statistics need it."""
    return SimpleNamespace(
        id=before.id,
        graph=before.graph,
        state=changed["new_state"],
        created_at=before.created_at,
        started_at=before.started_at,
        finished_at=changed["now"],
        seconds=changed["took"],
        error=changed["new_error"],
    )


def _end_event(end: RunEnd, now: float) -> tuple[str, dict[str, Any]]:
    more: dict[str, Any] = {"progress": 1.0} if end.state is RunState.SUCCEEDED else {}
    if end.error is not None:
        more["error"] = error_json(end.error)
    return run_event(end.state.value, now, **more)
