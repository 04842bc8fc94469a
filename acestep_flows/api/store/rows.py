"""Converts rows to records, and holds the writes that `runs` and `leases` share. The caller opens the transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from acestep_flows.api.store.records import NodeRecord, OutputRecord, RunRecord, RunState
from acestep_flows.api.store.schema import ASSETS, COUNTERS, EVENT_NUMBER, EVENTS, NODES, RUNS
from acestep_flows.api.store.usage import count_usage
from acestep_flows.errors import FlowsError, node_of

RECORD_COLUMNS = [column for column in RUNS.columns if column.name != "content"]
"""Columns of a `RunRecord`: all but the graph's content, which may be large."""


def new_id(prefix: str, now: float) -> str:
    """A random id, such as `run-...`. Ids sort by the time `now` at which they were made."""
    return f"{prefix}-{int(now * 1e6):014x}{secrets.token_hex(6)}"


def run_record(
    row: Row[Any], outputs: Mapping[str, OutputRecord], labels: Mapping[str, str] | None = None
) -> RunRecord:
    """The record of a row of RECORD_COLUMNS, of the run's outputs by name, and of its labels."""
    return RunRecord(
        id=row.id,
        graph=row.graph,
        digest=row.digest,
        state=RunState(row.state),
        owner=row.owner,
        priority=row.priority,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deadline_at=row.deadline_at,
        progress=row.progress,
        attempt=row.attempt,
        cancel_requested=row.cancel_requested,
        inputs=row.inputs,
        cache=row.cache,
        format=row.format,
        warnings=tuple(row.warnings),
        error=row.error,
        outputs=outputs,
        seconds=row.seconds,
        webhook=row.webhook,
        preview_every=row.preview_every,
        labels=labels or {},
    )


def node_record(row: Row[Any]) -> NodeRecord:
    """The record of a row of NODES."""
    columns = ("id", "stage", "state", "step", "steps", "seconds", "started_at", "finished_at", "error")
    return NodeRecord(**{name: getattr(row, name) for name in columns})


def outputs_of(connection: Connection, runs: Sequence[str]) -> dict[str, dict[str, OutputRecord]]:
    """The outputs of runs: by run, then by name."""
    outputs: dict[str, dict[str, OutputRecord]] = {run: {} for run in runs}
    rows = connection.execute(select(ASSETS).where(ASSETS.c.run.in_(runs)).order_by(ASSETS.c.run, ASSETS.c.position))
    for row in rows:
        outputs[row.run][row.output] = OutputRecord(
            name=row.output,
            asset=row.id,
            kind=row.kind,
            content_type=row.content_type,
            file_name=row.file_name,
            digest=row.digest,
            bytes=row.bytes,
            expired=row.expired_at is not None,
        )
    return outputs


def add_events(connection: Connection, run: str, events: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Append events to those of a run. Each is a type and a body; the body has its `time`."""
    new_events = list(events)
    if not new_events:
        return
    last = connection.execute(
        update(RUNS)
        .where(RUNS.c.id == run)
        .values(last_event=RUNS.c.last_event + len(new_events))
        .returning(RUNS.c.last_event)
    ).scalar_one()
    first = last - len(new_events) + 1
    head = connection.execute(
        update(COUNTERS)
        .where(COUNTERS.c.name == EVENT_NUMBER)
        .values(value=COUNTERS.c.value + len(new_events))
        .returning(COUNTERS.c.value)
    ).scalar_one()
    number = head - last  # of an event, less its seq
    connection.execute(
        insert(EVENTS),
        [
            {"run": run, "seq": seq, "type": type, "time": body["time"], "body": dict(body), "number": seq + number}
            for seq, (type, body) in enumerate(new_events, first)
        ],
    )


def run_event(type: str, now: float, **more: Any) -> tuple[str, dict[str, Any]]:
    """Type and body of an event of the run itself, not of a node."""
    return type, {"type": type, "node": "", "stage": "", "time": now, **more}


def end_run(
    connection: Connection,
    run: str,
    state: RunState,
    now: float,
    error: FlowsError | None = None,
) -> None:
    """End a run. The caller has checked, in the same transaction, that it has not ended."""
    before = connection.execute(select(RUNS.c.started_at, RUNS.c.webhook).where(RUNS.c.id == run)).one()
    changes: dict[str, Any] = {
        "state": state.value,
        "finished_at": now,
        "seconds": None if before.started_at is None else max(0.0, now - before.started_at),
        "executor": None,
        "lease_until": None,
        "error": None if error is None else error_json(error),
        "webhook_due": None if before.webhook is None else now,
    }
    if state is RunState.SUCCEEDED:
        changes["progress"] = 1.0
    else:  # an executor that died did not end its nodes
        open_nodes = (NODES.c.run == run, NODES.c.state.in_(("waiting", "queued", "started")))
        connection.execute(update(NODES).where(*open_nodes).values(state="cancelled"))
    connection.execute(update(RUNS).where(RUNS.c.id == run).values(changes))
    count_usage(connection, run, now)
    more = {"progress": 1.0} if state is RunState.SUCCEEDED else {}
    if error is not None:
        more["error"] = changes["error"]
    add_events(connection, run, [run_event(state.value, now, **more)])


def error_json(error: FlowsError) -> dict[str, Any]:
    """An error as JSON, as clients see it: `code`, `message`, and `node`, `field` and `allowed` where it has them."""
    body: dict[str, Any] = {"code": error.code, "message": str(error)}
    parts = {"node": node_of(error), **{name: getattr(error, name, "") for name in ("field", "allowed")}}
    return body | {name: part for name, part in parts.items() if part and isinstance(part, str)}
