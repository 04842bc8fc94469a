"""The run table as clients use it: accept, list, look at and cancel runs; and the webhooks that are due."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, insert, select, update

from acestep_flows.api.store.database import ACCEPTING, Database
from acestep_flows.api.store.group_commit import GroupCommit
from acestep_flows.api.store.ids import is_id, no_such
from acestep_flows.api.store.labels import check_labels, labels_of, with_parent, write_labels
from acestep_flows.api.store.listing import latest_runs, run_counts
from acestep_flows.api.store.queue_estimate import estimate_run
from acestep_flows.api.store.queue_room import QueueRoom
from acestep_flows.api.store.records import (
    NewRun,
    NodeRecord,
    Page,
    QueueEstimate,
    QueueLimits,
    RunRecord,
    RunState,
    StoredEvent,
)
from acestep_flows.api.store.rows import (
    RECORD_COLUMNS,
    new_id,
    node_record,
    outputs_of,
    run_event,
    run_record,
)
from acestep_flows.api.store.run_ends import EventBatch, RunEnd, end_runs
from acestep_flows.api.store.schema import ASSETS, EVENTS, INPUT_ASSETS, NODES, RUNS
from acestep_flows.errors import Cancelled, Conflict, FlowsError, InputError, NotFound, Overloaded

LARGEST_PAGE = 200
HIGHEST_PRIORITY = 1000
LONGEST_KEY = 255

_DEFAULT_LIMITS = QueueLimits()


class RunTable:
    """Runs in the database. The methods block for milliseconds: from an event loop, call them in a thread.

    Executors use `leases.Leases` instead.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        self._acceptances = GroupCommit(self._accept_group)

    def accept(self, new: NewRun, limits: QueueLimits = _DEFAULT_LIMITS) -> tuple[RunRecord, bool]:
        """Put a run in the queue. It is on disk when this returns.

        Returns:
            The run, and whether it is new. It is not new if its idempotency key was used before for the same request.

        Raises:
            Conflict: the idempotency key was used for another request.
            Overloaded: the queue is full.
            RateLimited: the owner has too many runs.
            NotFound: an asset in its inputs does not exist, or has expired.
            InputError: a priority, deadline, key or label is out of range.
        """
        _check(new)
        return self._acceptances.put((new, limits))

    def _accept_group(
        self, group: Sequence[tuple[NewRun, QueueLimits]]
    ) -> Sequence[tuple[RunRecord, bool] | FlowsError]:
        with self._database.write_beside(ACCEPTING) as connection:
            room, events = QueueRoom(connection), EventBatch()
            results = [self._accept_one(connection, new, limits, room, events) for new, limits in group]
            events.write(connection)
        return results

    def _accept_one(
        self, connection: Connection, new: NewRun, limits: QueueLimits, room: QueueRoom, events: EventBatch
    ) -> tuple[RunRecord, bool] | FlowsError:
        """As `accept`, without the event. An error is returned: nothing was written, and others may be accepted."""
        try:
            if new.idempotency_key is not None:
                earlier = _accepted(connection, new.owner, new.idempotency_key, new.request_digest)
                if earlier is not None:
                    return earlier, False
            room.check(new.owner, limits)
            _require(connection, new.assets, new.owner)
        except (Conflict, NotFound, Overloaded) as error:
            return error
        record = self._insert(connection, new)
        room.take(new.owner)
        events.add(record.id, 0, [run_event("accepted", record.created_at)])
        return record, True

    def accepted(self, owner: str, key: str, digest: str) -> RunRecord | None:
        """The run that was accepted before under an idempotency key; None if there is none.

        Args:
            digest: digest of the request (`NewRun.request_digest`).

        Raises:
            Conflict: the key was used for another request.
        """
        with self._database.read() as connection:
            return _accepted(connection, owner, key, digest)

    def get(self, id: str, owner: str | None = None) -> RunRecord:
        """One run. If `owner` is given, runs of other owners do not exist.

        Raises:
            NotFound: there is no such run.
        """
        with self._database.read() as connection:
            return _full_record(connection, _row(connection, id, owner))

    def list(
        self,
        *,
        owner: str | None = None,
        state: RunState | None = None,
        graph: str | None = None,
        labels: Sequence[str] = (),
        created_after: float | None = None,
        created_before: float | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Runs, newest first.

        Args:
            labels: labels that a run must have, each as `NAME` or `NAME:TEXT`.
            created_after: seconds since the epoch; runs accepted at this time or later.
            created_before: seconds since the epoch; runs accepted before this time.
            after: the `next` of the page before.

        Raises:
            InputError: `after` is not the id of a run, `limit` is out of range, or a label has no usable name.
        """
        if not 1 <= limit <= LARGEST_PAGE:
            raise InputError(f"{limit}", where="limit", allowed=f"1 to {LARGEST_PAGE}")
        if after is not None and not is_id("run", after):
            raise InputError("not the id of a run", where="after", allowed="the value of next of the page before")
        ids = latest_runs(
            limit + 1,
            owner=owner,
            state=state,
            graph=graph,
            labels=labels,
            created_after=created_after,
            created_before=created_before,
            after=after,
        ).subquery()
        query = select(*RECORD_COLUMNS).where(RUNS.c.id.in_(select(ids))).order_by(RUNS.c.id.desc())
        with self._database.read() as connection:
            rows = connection.execute(query).all()
            listed = [row.id for row in rows]
            outputs, labelled = outputs_of(connection, listed), labels_of(connection, listed)
        runs = tuple(run_record(row, outputs[row.id], labelled[row.id]) for row in rows[:limit])
        return Page(runs, runs[-1].id if len(rows) > limit else None)

    def nodes(self, id: str) -> tuple[NodeRecord, ...]:
        """The nodes of a run in the order of its plan; empty before its first start."""
        with self._database.read() as connection:
            rows = connection.execute(select(NODES).where(NODES.c.run == id).order_by(NODES.c.position))
            return tuple(node_record(row) for row in rows)

    def events(self, id: str, after: int = 0, limit: int = 1000) -> tuple[StoredEvent, ...]:
        """Events with a `seq` greater than `after`, oldest first. The type of a run's last event is its end state."""
        query = select(EVENTS).where(EVENTS.c.run == id, EVENTS.c.seq > after).order_by(EVENTS.c.seq).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(query)
            return tuple(StoredEvent(row.seq, row.type, row.time, row.body) for row in rows)

    def cancel(self, id: str, owner: str | None = None) -> RunRecord:
        """Stop a run: at once if no executor works on it, else at its next step. Does nothing if it has ended.

        Raises:
            NotFound: there is no such run.
        """
        now = self._clock()
        with self._database.write_beside() as connection:
            row, events = _row(connection, id, owner, lock=True), EventBatch()
            if row.state == RunState.QUEUED or (row.state == RunState.RUNNING and row.lease_until < now):
                end = RunEnd(id, RunState.CANCELLED, Cancelled("the run was cancelled"))
                end_runs(connection, [end], {id: row}, now, events)
                events.write(connection)
            elif row.state == RunState.RUNNING:
                connection.execute(update(RUNS).where(RUNS.c.id == id).values(cancel_requested=True))
            return _full_record(connection, _row(connection, id, owner))

    def queue_estimate(self, id: str, alone: bool = False) -> QueueEstimate:
        """Queue position and remaining seconds of a run; `alone` as in `estimate_run`.

        Raises:
            NotFound: there is no such run.
        """
        with self._database.read() as connection:
            return estimate_run(connection, _row(connection, id, None), self._clock(), alone)

    def counts(self, owner: str | None = None) -> dict[RunState, int]:
        """The number of runs in each state, of all owners or of one."""
        with self._database.read() as connection:
            rows = connection.execute(run_counts(owner))
            counts = {row[0]: int(row[1]) for row in rows}
        return {state: counts.get(state.value, 0) for state in RunState}

    # Webhooks: events of a run make its webhook due (`is_called_at`). A sender takes it and reports the result.

    def take_webhooks(self, limit: int = 10, hold: float = 60.0) -> tuple[RunRecord, ...]:
        """Take runs whose webhook is due. No other sender gets them for `hold` seconds."""
        now = self._clock()
        due = select(*RECORD_COLUMNS).where(RUNS.c.webhook_due <= now).order_by(RUNS.c.webhook_due).limit(limit)
        with self._database.read() as connection:
            if connection.execute(due).first() is None:
                return ()
        with self._database.write_beside() as connection:
            rows = connection.execute(due.with_for_update(skip_locked=True)).all()
            ids = [row.id for row in rows]
            connection.execute(update(RUNS).where(RUNS.c.id.in_(ids)).values(webhook_due=now + hold))
            outputs, labels = outputs_of(connection, ids), labels_of(connection, ids)
        return tuple(run_record(row, outputs[row.id], labels[row.id]) for row in rows)

    def webhook_sent(self, id: str, ended: bool = True) -> None:
        """Note that the webhook was delivered, or that no attempt is left. If it told the start (not `ended`), the
        end that came meanwhile is still due."""
        this = [RUNS.c.id == id] if ended else [RUNS.c.id == id, RUNS.c.finished_at.is_(None)]
        with self._database.write_beside() as connection:
            connection.execute(update(RUNS).where(*this).values(webhook_due=None))

    def webhook_failed(self, id: str, retry_at: float) -> int:
        """Make the webhook due again at `retry_at`. Returns how often it has failed; 0 if the run was forgotten."""
        failures = RUNS.c.webhook_failures + 1
        changed = update(RUNS).where(RUNS.c.id == id).values(webhook_due=retry_at, webhook_failures=failures)
        with self._database.write_beside() as connection:
            return int(connection.execute(changed.returning(RUNS.c.webhook_failures)).scalar_one_or_none() or 0)

    def _insert(self, connection: Connection, new: NewRun) -> RunRecord:
        now = self._clock()
        id = new_id("run", now)
        row = connection.execute(_INSERTED, _new_row(id, new, now)).one()
        if assets := sorted(set(new.assets)):
            connection.execute(insert(INPUT_ASSETS), [{"run": id, "asset": asset} for asset in assets])
        labels = with_parent(connection, new.labels, new.assets)
        write_labels(connection, id, labels)
        return run_record(row, {}, dict(sorted(labels.items())))


_INSERTED = insert(RUNS).returning(*RECORD_COLUMNS)


def _new_row(id: str, new: NewRun, now: float) -> dict[str, Any]:
    return {
        "id": id,
        "graph": new.graph,
        "digest": new.digest,
        "content": new.content,
        "inputs": new.inputs,
        "owner": new.owner,
        "priority": new.priority,
        "cache": new.cache,
        "format": new.format,
        "state": RunState.QUEUED.value,
        "created_at": now,
        "deadline_at": None if new.deadline is None else now + new.deadline,
        "progress": 0.0,
        "expected_seconds": new.expected_seconds,
        "cancel_requested": False,
        "attempt": 0,
        "strikes": 0,
        "last_event": 1,  # that it is accepted
        "warnings": list(new.warnings),
        "webhook": new.webhook,
        "webhook_failures": 0,
        "idempotency_key": new.idempotency_key,
        "request_digest": new.request_digest,
        "preview_every": new.preview_every,
    }


def _accepted(connection: Connection, owner: str, key: str, digest: str) -> RunRecord | None:
    used = and_(RUNS.c.owner == owner, RUNS.c.idempotency_key == key)
    if (row := connection.execute(select(*RECORD_COLUMNS).where(used)).one_or_none()) is None:
        return None
    if row.request_digest != digest:
        what = f"the idempotency key was used for another request: run {row.id}; use a new key"
        raise Conflict(what, field="idempotency_key")
    return _full_record(connection, row)


def _check(new: NewRun) -> None:
    check_labels(new.labels)
    key = new.idempotency_key
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        allowed = f"1 to {LONGEST_KEY} printable ASCII characters"
        raise InputError("not a usable key", where="idempotency_key", allowed=allowed)
    if abs(new.priority) > HIGHEST_PRIORITY:
        allowed = f"-{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}"
        raise InputError(f"{new.priority}", where="priority", allowed=allowed)
    if new.deadline is not None and not 0 < new.deadline < 1e9:
        raise InputError(f"{new.deadline}", where="deadline", allowed="seconds above 0")


def _require(connection: Connection, assets: Sequence[str], owner: str) -> None:
    wanted = set(assets)
    if not wanted:
        return
    usable = select(ASSETS.c.id).where(ASSETS.c.id.in_(wanted), ASSETS.c.expired_at.is_(None), ASSETS.c.owner == owner)
    for asset in sorted(wanted - set(connection.execute(usable).scalars())):
        raise NotFound(f"no asset {asset}")


def _row(connection: Connection, id: str, owner: str | None, lock: bool = False) -> Row[tuple[object, ...]]:
    query: Select[tuple[object, ...]] = select(*RECORD_COLUMNS).where(RUNS.c.id == id)
    if owner is not None:
        query = query.where(RUNS.c.owner == owner)
    if lock:
        query = query.with_for_update()
    if not is_id("run", id) or (row := connection.execute(query).one_or_none()) is None:
        raise no_such("run", id)
    return row


def _full_record(connection: Connection, row: Row[tuple[object, ...]]) -> RunRecord:
    id = str(row.id)
    ended = [id] if RunState(row.state).ended else []  # before its end a run has no outputs
    return run_record(row, outputs_of(connection, ended).get(id, {}), labels_of(connection, [id])[id])
