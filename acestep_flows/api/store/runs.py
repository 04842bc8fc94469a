"""The run table as those see it who submit runs and look at them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, Row, Select, and_, func, insert, select, update

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.queue_estimate import outlook, typical_seconds
from acestep_flows.api.store.records import (
    NewRun,
    NodeRecord,
    Outlook,
    Page,
    QueueLimits,
    RunRecord,
    RunState,
    StoredEvent,
)
from acestep_flows.api.store.rows import SHOWN, end, new_id, node_record, outputs_of, run_event, run_record, tell
from acestep_flows.api.store.schema import ASSETS, EVENTS, INPUT_ASSETS, NODES, RUNS
from acestep_flows.errors import Cancelled, Conflict, InputError, NotFound, Overloaded, RateLimited

LARGEST_PAGE = 200
HIGHEST_PRIORITY = 1000
LONGEST_KEY = 255

_DEFAULT_LIMITS = QueueLimits()
_ID = re.compile(r"run-[0-9a-f]{26}")
_UNFINISHED = (RunState.QUEUED.value, RunState.RUNNING.value)


class RunTable:
    """Runs in the database. Its methods block (milliseconds): from an event loop, call them in a thread.

    Executors work on runs through `leases.Leases`.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def accept(self, new: NewRun, limits: QueueLimits = _DEFAULT_LIMITS) -> tuple[RunRecord, bool]:
        """Put a run in the queue; when this returns, it is on disk.

        Returns:
            The run, and whether it is new: False where its idempotency key was used before for the same request.

        Raises:
            Conflict: the idempotency key was used for another request.
            Overloaded: the queue is full; nothing is kept of the run.
            RateLimited: the owner has too many runs; likewise.
            NotFound: an asset in its inputs is gone.
            InputError: a priority, deadline or key that cannot be.
        """
        _check(new)
        with self._database.write() as connection:
            if new.idempotency_key is not None:
                known = _accepted(connection, new.owner, new.idempotency_key, new.request_digest)
                if known is not None:
                    return known, False
            _refuse_overload(connection, new.owner, limits)
            _require(connection, new.assets, new.owner)
            id = self._insert(connection, new)
            row = connection.execute(select(*SHOWN).where(RUNS.c.id == id)).one()
            return _whole(connection, row), True

    def accepted(self, owner: str, key: str, digest: str) -> RunRecord | None:
        """The run that was accepted under an idempotency key for the same request; None where there is none yet.

        Args:
            digest: of the request (`NewRun.request_digest`).

        Raises:
            Conflict: the key was used for another request.
        """
        with self._database.read() as connection:
            return _accepted(connection, owner, key, digest)

    def get(self, id: str, owner: str | None = None) -> RunRecord:
        """One run; of another owner it does not exist.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as connection:
            return _whole(connection, _row(connection, id, owner))

    def list(
        self,
        *,
        owner: str | None = None,
        state: RunState | None = None,
        graph: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page:
        """Runs, the newest first; `after` is the `next` of the page before.

        Raises:
            InputError: `after` is no such thing, or `limit` is out of range.
        """
        if not 1 <= limit <= LARGEST_PAGE:
            raise InputError(f"{limit}", where="limit", allowed=f"1 to {LARGEST_PAGE}")
        if after is not None and not _ID.fullmatch(after):
            raise InputError("not the end of a page", where="after", allowed="what the page before named as next")
        wanted = select(*SHOWN).order_by(RUNS.c.id.desc()).limit(limit + 1)
        for column, value in ((RUNS.c.owner, owner), (RUNS.c.state, state and state.value), (RUNS.c.graph, graph)):
            if value is not None:
                wanted = wanted.where(column == value)
        if after is not None:
            wanted = wanted.where(RUNS.c.id < after)
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
            outputs = outputs_of(connection, [row.id for row in rows])
        runs = tuple(run_record(row, outputs[row.id]) for row in rows[:limit])
        return Page(runs, runs[-1].id if len(rows) > limit else None)

    def nodes(self, id: str) -> tuple[NodeRecord, ...]:
        """The nodes of a run in the order of its plan; empty before it first started."""
        with self._database.read() as connection:
            rows = connection.execute(select(NODES).where(NODES.c.run == id).order_by(NODES.c.position))
            return tuple(node_record(row) for row in rows)

    def events(self, id: str, after: int = 0, limit: int = 1000) -> tuple[StoredEvent, ...]:
        """Events whose `seq` is greater than `after`, oldest first. The last of a run has an end state as its type."""
        wanted = select(EVENTS).where(EVENTS.c.run == id, EVENTS.c.seq > after).order_by(EVENTS.c.seq).limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(wanted)
            return tuple(StoredEvent(row.seq, row.type, row.time, row.body) for row in rows)

    def cancel(self, id: str, owner: str | None = None) -> RunRecord:
        """Stop a run: at once where nobody works on it, else at its next step boundary. No-op when it is over.

        Raises:
            NotFound: there is none.
        """
        now = self._clock()
        with self._database.write() as connection:
            row = _row(connection, id, owner)
            if row.state == RunState.QUEUED or (row.state == RunState.RUNNING and row.lease_until < now):
                end(connection, id, RunState.CANCELLED, now, Cancelled("the run was cancelled"))
            elif row.state == RunState.RUNNING:
                connection.execute(update(RUNS).where(RUNS.c.id == id).values(cancel_requested=True))
            return _whole(connection, _row(connection, id, owner))

    def outlook(self, id: str) -> Outlook:
        """Queue position and seconds to go.

        Raises:
            NotFound: there is no such run.
        """
        with self._database.read() as connection:
            return outlook(connection, _row(connection, id, None), self._clock())

    def counts(self) -> dict[RunState, int]:
        """How many runs there are in each state."""
        with self._database.read() as connection:
            rows = connection.execute(select(RUNS.c.state, func.count()).group_by(RUNS.c.state))
            found = {row[0]: int(row[1]) for row in rows}
        return {state: found.get(state.value, 0) for state in RunState}

    def active(self, owner: str) -> int:
        """Runs of an owner that wait or work."""
        with self._database.read() as connection:
            return _active(connection, owner)

    # Webhooks: the end of a run makes its webhook due; a sender takes it, and tells how it went.

    def take_webhooks(self, limit: int = 10, hold: float = 60.0) -> tuple[RunRecord, ...]:
        """Runs over, whose webhook is due; nobody else is given them for `hold` seconds."""
        now = self._clock()
        due = select(*SHOWN).where(RUNS.c.webhook_due <= now).order_by(RUNS.c.webhook_due).limit(limit)
        with self._database.read() as connection:
            if connection.execute(due).first() is None:
                return ()
        with self._database.write() as connection:
            rows = connection.execute(due).all()
            ids = [row.id for row in rows]
            connection.execute(update(RUNS).where(RUNS.c.id.in_(ids)).values(webhook_due=now + hold))
            outputs = outputs_of(connection, ids)
        return tuple(run_record(row, outputs[row.id]) for row in rows)

    def webhook_sent(self, id: str) -> None:
        """The webhook was delivered, or is given up."""
        with self._database.write() as connection:
            connection.execute(update(RUNS).where(RUNS.c.id == id).values(webhook_due=None))

    def webhook_failed(self, id: str, retry_at: float) -> int:
        """The webhook is due again at `retry_at`; how often it has failed now."""
        failures = RUNS.c.webhook_failures + 1
        changed = update(RUNS).where(RUNS.c.id == id).values(webhook_due=retry_at, webhook_failures=failures)
        with self._database.write() as connection:
            return int(connection.execute(changed.returning(RUNS.c.webhook_failures)).scalar_one())

    def _insert(self, connection: Connection, new: NewRun) -> str:
        now = self._clock()
        id = new_id("run", now)
        connection.execute(
            insert(RUNS).values(
                id=id,
                graph=new.graph,
                digest=new.digest,
                content=new.content,
                inputs=new.inputs,
                owner=new.owner,
                priority=new.priority,
                cache=new.cache,
                format=new.format,
                state=RunState.QUEUED.value,
                created_at=now,
                deadline_at=None if new.deadline is None else now + new.deadline,
                progress=0.0,
                expected_seconds=new.expected_seconds,
                cancel_requested=False,
                attempt=0,
                strikes=0,
                last_event=0,
                warnings=list(new.warnings),
                webhook=new.webhook,
                webhook_failures=0,
                idempotency_key=new.idempotency_key,
                request_digest=new.request_digest,
                preview_every=new.preview_every,
            )
        )
        if assets := sorted(set(new.assets)):
            connection.execute(insert(INPUT_ASSETS), [{"run": id, "asset": asset} for asset in assets])
        tell(connection, id, [run_event("accepted", now)])
        return id


def _accepted(connection: Connection, owner: str, key: str, digest: str) -> RunRecord | None:
    used = and_(RUNS.c.owner == owner, RUNS.c.idempotency_key == key)
    if (row := connection.execute(select(*SHOWN).where(used)).one_or_none()) is None:
        return None
    if row.request_digest != digest:
        raise Conflict(f"the idempotency key was used for another request, run {row.id}")
    return _whole(connection, row)


def _check(new: NewRun) -> None:
    key = new.idempotency_key
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        allowed = f"1 to {LONGEST_KEY} printable ASCII characters"
        raise InputError("not usable as a key", where="idempotency_key", allowed=allowed)
    if abs(new.priority) > HIGHEST_PRIORITY:
        allowed = f"-{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}"
        raise InputError(f"{new.priority}", where="priority", allowed=allowed)
    if new.deadline is not None and not 0 < new.deadline < 1e9:
        raise InputError(f"{new.deadline}", where="deadline", allowed="seconds, more than 0")


def _refuse_overload(connection: Connection, owner: str, limits: QueueLimits) -> None:
    if limits.queued is not None:
        queued = connection.execute(
            select(func.count()).select_from(RUNS).where(RUNS.c.state == RunState.QUEUED.value)
        ).scalar_one()
        if queued >= limits.queued:
            wait = typical_seconds(connection, None) or 1.0
            raise Overloaded(f"{queued} runs are waiting, the queue is full", retry_after=min(max(wait, 1.0), 60.0))
    if limits.owned is not None and _active(connection, owner) >= limits.owned:
        wait = typical_seconds(connection, None) or 1.0
        raise RateLimited(
            f"{limits.owned} runs of this key wait or work, which is its limit", retry_after=min(max(wait, 1.0), 60.0)
        )


def _active(connection: Connection, owner: str) -> int:
    active = select(func.count()).select_from(RUNS).where(RUNS.c.owner == owner, RUNS.c.state.in_(_UNFINISHED))
    return int(connection.execute(active).scalar_one())


def _require(connection: Connection, assets: Sequence[str], owner: str) -> None:
    wanted = set(assets)
    if not wanted:
        return
    there = select(ASSETS.c.id).where(ASSETS.c.id.in_(wanted), ASSETS.c.expired_at.is_(None), ASSETS.c.owner == owner)
    for asset in sorted(wanted - set(connection.execute(there).scalars())):
        raise NotFound(f"no asset {asset}")


def _row(connection: Connection, id: str, owner: str | None) -> Row[tuple[object, ...]]:
    wanted: Select[tuple[object, ...]] = select(*SHOWN).where(RUNS.c.id == id)
    if owner is not None:
        wanted = wanted.where(RUNS.c.owner == owner)
    if not _ID.fullmatch(id) or (row := connection.execute(wanted).one_or_none()) is None:
        raise NotFound(f"no run {id[:60]!r}")
    return row


def _whole(connection: Connection, row: Row[tuple[object, ...]]) -> RunRecord:
    id = str(row.id)
    return run_record(row, outputs_of(connection, [id])[id])
