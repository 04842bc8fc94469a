"""Converts rows to records, and records to what rows hold."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, select

from acestep_flows.api.store.records import NodeRecord, OutputRecord, RunRecord, RunState
from acestep_flows.api.store.schema import ASSETS, RUNS
from acestep_flows.errors import FlowsError, node_of

RECORD_COLUMNS = [column for column in RUNS.columns if column.name != "content"]
"""Columns of a `RunRecord`: all but the graph's content, which may be large."""

NewEvents: TypeAlias = Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]
"""Type and body of new events, by run. A body has its `time`."""


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
    if not runs:
        return outputs
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


def run_event(type: str, now: float, **more: Any) -> tuple[str, dict[str, Any]]:
    """Type and body of an event of the run itself, not of a node."""
    return type, {"type": type, "node": "", "stage": "", "time": now, **more}


def is_called_at(event: str, webhook: Mapping[str, Any] | None) -> bool:
    """Whether a webhook is called when a run comes to an event: `start`, or `completed`, which is its end.

    Webhooks without a list of `events` are called at the end.
    """
    return webhook is not None and event in webhook.get("events", ("completed",))


def error_json(error: FlowsError) -> dict[str, Any]:
    """An error as JSON, as clients see it: `code`, `message`, and `node`, `field` and `allowed` where it has them."""
    body: dict[str, Any] = {"code": error.code, "message": error.public}
    parts = {"node": node_of(error), **{name: getattr(error, name, "") for name in ("field", "allowed")}}
    return body | {name: part for name, part in parts.items() if part and isinstance(part, str)}
