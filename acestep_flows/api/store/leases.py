"""The run table as executors use it: claim a run, renew the lease while working on it, end it once.

An executor can write about a run only while it holds the latest lease. If two executors believe that they have the
same run, the one that claimed it first can no longer write anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, or_, select, update

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import ClaimedRun, Lease, NewOutput, NodeRecord, RunState
from acestep_flows.api.store.rows import RECORD_COLUMNS, add_events, end_run, new_id, node_record, run_event, run_record
from acestep_flows.api.store.schema import ASSETS, EXECUTORS, NODES, RUNS
from acestep_flows.errors import Cancelled, DeadlineExceeded, FlowsError, LostProcess

AGEING_SECONDS = 60.0
"""Waiting time that equals one step of priority. So no run waits for ever, however many urgent runs follow it."""

STRIKES = 5
"""How many executors may die in a row while working on a run, with no node finished in between, before it fails."""

SETTLED = frozenset({"finished", "cached", "skipped"})
"""States of nodes that do not run again."""

_LATE = DeadlineExceeded("the deadline, which counts from the submission, passed while the run waited")
_LONG_DEAD_SECONDS = 3600.0
_CHANGING = ("state", "step", "steps", "seconds", "started_at", "finished_at", "error")


@dataclass(frozen=True)
class RunChanges:
    """What happened to a run since the last write.

    Attributes:
        events: type and body of each event, in order.
        nodes: changed nodes by their position in the plan.
        progress: of the whole run, 0 to 1.
    """

    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    nodes: Mapping[int, NodeRecord] = field(default_factory=dict)
    progress: float = 0.0


class Leases:
    """Leases on runs. The methods block for milliseconds: from an event loop, call them in a thread.

    Args:
        seconds: how long a lease is valid after its last renewal.
        clock: seconds since the epoch. The clocks of executors must agree to much less than `seconds`.
    """

    def __init__(self, database: Database, seconds: float = 10.0, clock: Callable[[], float] = time.time) -> None:
        self.seconds = seconds
        self._database, self._clock = database, clock

    def claim(self, executor: str, busy: Collection[str] = ()) -> ClaimedRun | None:
        """Claim the next run, in the order of `queue_order`; None if no run is waiting.

        The owner with the fewest running runs comes first. Runs with an expired lease count as waiting. Runs that were
        cancelled, are past their deadline, or outlived too many executors are ended instead of claimed.

        Args:
            executor: name of the executor.
            busy: runs that the executor still computes although it lost their lease.
        """
        if not self._has_work(busy):
            return None
        while True:
            # One transaction for each candidate, so that a run ended here stays ended.
            with self._database.write() as connection:
                now = self._clock()
                row = connection.execute(_next(now, busy)).first()
                if row is None:
                    return None
                if (reason := _reason_to_end(row, now)) is not None:
                    end_run(connection, row.id, end_state(reason), now, reason)
                    continue
                return self._claim_row(connection, row.id, executor, now)

    def renew(self, executor: str, slots: int, leases: Iterable[Lease]) -> set[str]:
        """Renew leases, and note that the executor is alive. Returns the runs whose lease is still valid."""
        now = self._clock()
        held: set[str] = set()
        with self._database.write() as connection:
            seen = {"slots": slots, "seen_at": now}
            if not connection.execute(update(EXECUTORS).where(EXECUTORS.c.name == executor).values(seen)).rowcount:
                connection.execute(insert(EXECUTORS).values(name=executor, **seen))
                connection.execute(delete(EXECUTORS).where(EXECUTORS.c.seen_at < now - _LONG_DEAD_SECONDS))
            for lease in leases:
                renewed = update(RUNS).where(_lease_condition(lease)).values(lease_until=now + self.seconds)
                if connection.execute(renewed).rowcount:
                    held.add(lease.run)
        return held

    def remove_executor(self, executor: str) -> None:
        """Remove an executor that ends, so that queue estimates no longer count its slots."""
        with self._database.write() as connection:
            connection.execute(delete(EXECUTORS).where(EXECUTORS.c.name == executor))

    def cancel_requests(self, executor: str) -> set[str]:
        """Running runs of an executor for which a cancellation was requested."""
        mine = select(RUNS.c.id).where(
            RUNS.c.state == RunState.RUNNING.value, RUNS.c.executor == executor, RUNS.c.cancel_requested.is_(True)
        )
        with self._database.read() as connection:
            return set(connection.execute(mine).scalars())

    def expire_queued(self) -> int:
        """End the queued runs that are past their deadline. Returns how many."""
        now = self._clock()
        late = select(RUNS.c.id).where(RUNS.c.state == RunState.QUEUED.value, RUNS.c.deadline_at <= now)
        with self._database.read() as connection:
            if connection.execute(late.limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            ids = connection.execute(late).scalars().all()
            for id in ids:
                end_run(connection, id, RunState.FAILED, now, _LATE)
        return len(ids)

    def begin(self, lease: Lease, nodes: Sequence[NodeRecord]) -> tuple[NodeRecord, ...] | None:
        """Write the nodes of a run that starts. If the run continues, reset its unfinished nodes to waiting.

        Returns:
            The nodes as stored; None if the lease is lost.
        """
        with self._database.write() as connection:
            if not lease_is_held(connection, lease):
                return None
            mine = NODES.c.run == lease.run
            if nodes and connection.execute(select(NODES.c.position).where(mine).limit(1)).first() is None:
                connection.execute(
                    insert(NODES), [_node_row(lease.run, position, node) for position, node in enumerate(nodes)]
                )
            else:
                reset = {"state": "waiting", "step": None, "steps": None, "started_at": None, "error": None}
                connection.execute(update(NODES).where(mine, NODES.c.state.not_in(SETTLED)).values(reset))
            rows = connection.execute(select(NODES).where(mine).order_by(NODES.c.position))
            return tuple(node_record(row) for row in rows)

    def record(self, written: Mapping[Lease, RunChanges]) -> set[Lease]:
        """Write the changes of runs. Returns the leases that are still valid; nothing is written for the others."""
        held: set[Lease] = set()
        with self._database.write() as connection:
            for lease, changes in written.items():
                if lease_is_held(connection, lease):
                    _write(connection, lease, changes)
                    held.add(lease)
        return held

    def finish(
        self,
        lease: Lease,
        state: RunState,
        *,
        changes: RunChanges | None = None,
        outputs: Sequence[NewOutput] = (),
        warnings: Sequence[str] = (),
        error: FlowsError | None = None,
    ) -> bool:
        """End a run and write its outputs, warnings and last changes in one transaction; False if the lease is lost."""
        with self._database.write() as connection:
            if not lease_is_held(connection, lease):
                return False
            now = self._clock()
            if changes is not None:
                _write(connection, lease, changes)
            owner, old_warnings = connection.execute(
                select(RUNS.c.owner, RUNS.c.warnings).where(RUNS.c.id == lease.run)
            ).one()
            if outputs:
                connection.execute(
                    insert(ASSETS),
                    [_output_row(lease.run, owner, now, at, output) for at, output in enumerate(outputs)],
                )
            all_warnings = [*old_warnings, *(warning for warning in warnings if warning not in old_warnings)]
            connection.execute(update(RUNS).where(RUNS.c.id == lease.run).values(warnings=all_warnings))
            end_run(connection, lease.run, state, now, error)
        return True

    def release(self, lease: Lease) -> bool:
        """Return a run to the queue, where it keeps its place; False if the lease is lost."""
        back = {"state": RunState.QUEUED.value, "executor": None, "lease_until": None, "strikes": 0}
        with self._database.write() as connection:
            return connection.execute(update(RUNS).where(_lease_condition(lease)).values(back)).rowcount > 0

    def _has_work(self, busy: Collection[str]) -> bool:
        """Whether there is a run to claim. A read transaction, so that it does not block writers."""
        with self._database.read() as connection:
            return connection.execute(_next(self._clock(), busy)).first() is not None

    def _claim_row(self, connection: Connection, id: str, executor: str, now: float) -> ClaimedRun:
        started = connection.execute(select(RUNS.c.started_at).where(RUNS.c.id == id)).scalar_one()
        changed = {
            "state": RunState.RUNNING.value,
            "executor": executor,
            "lease_until": now + self.seconds,
            "attempt": RUNS.c.attempt + 1,
            "strikes": RUNS.c.strikes + 1,
            "started_at": now if started is None else started,
        }
        connection.execute(update(RUNS).where(RUNS.c.id == id).values(changed))
        add_events(connection, id, [run_event("started" if started is None else "continued", now)])
        row: Any = connection.execute(select(*RECORD_COLUMNS, RUNS.c.content).where(RUNS.c.id == id)).one()
        return ClaimedRun(Lease(id, executor, row.attempt), run_record(row, {}), row.content)


def end_state(error: FlowsError) -> RunState:
    """The end state of a run that ended with `error`."""
    return RunState.CANCELLED if isinstance(error, Cancelled) else RunState.FAILED


def _reason_to_end(row: Any, now: float) -> FlowsError | None:
    """Why a run is ended instead of claimed; None if it may be claimed."""
    if row.cancel_requested:
        return Cancelled("the run was cancelled")
    if row.deadline_at is not None and row.deadline_at <= now:
        return _LATE
    if row.strikes >= STRIKES:
        return LostProcess(f"the run is given up: {row.strikes} executors died while they worked on it")
    return None


def queue_order() -> Any:
    """The SQL expression that orders the queue, in seconds since the epoch.

    It is the time of acceptance, minus AGEING_SECONDS for each step of priority, plus the expected duration. So short
    runs need not wait for long ones.
    """
    return RUNS.c.created_at - AGEING_SECONDS * RUNS.c.priority + func.coalesce(RUNS.c.expected_seconds, 0.0)


def _next(now: float, busy: Collection[str]) -> Any:
    """A query for the run to claim next."""
    orphaned = and_(RUNS.c.state == RunState.RUNNING.value, RUNS.c.lease_until < now)
    running = (
        select(RUNS.c.owner, func.count().label("runs"))
        .where(RUNS.c.state == RunState.RUNNING.value, RUNS.c.lease_until >= now)
        .group_by(RUNS.c.owner)
        .subquery()
    )
    return (
        select(RUNS.c.id, RUNS.c.cancel_requested, RUNS.c.deadline_at, RUNS.c.strikes)
        .select_from(RUNS.outerjoin(running, running.c.owner == RUNS.c.owner))
        .where(or_(RUNS.c.state == RunState.QUEUED.value, orphaned), RUNS.c.id.not_in(sorted(busy)))
        .order_by(func.coalesce(running.c.runs, 0), queue_order(), RUNS.c.id)
        .limit(1)
    )


def _lease_condition(lease: Lease) -> Any:
    """The SQL condition that a run is running and `lease` is the latest lease on it."""
    return and_(
        RUNS.c.id == lease.run,
        RUNS.c.state == RunState.RUNNING.value,
        RUNS.c.executor == lease.executor,
        RUNS.c.attempt == lease.attempt,
    )


def lease_is_held(connection: Connection, lease: Lease) -> bool:
    """Whether the run is running and `lease` is the latest lease on it."""
    return connection.execute(select(RUNS.c.id).where(_lease_condition(lease))).first() is not None


def _write(connection: Connection, lease: Lease, changes: RunChanges) -> None:
    add_events(connection, lease.run, changes.events)
    if changes.nodes:
        set_to: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _CHANGING}
        connection.execute(
            update(NODES).where(NODES.c.run == lease.run, NODES.c.position == bindparam("at")).values(set_to),
            [
                {"at": at} | {f"new_{name}": getattr(node, name) for name in _CHANGING}
                for at, node in changes.nodes.items()
            ],
        )
    changed: dict[str, Any] = {"progress": changes.progress}
    if any(node.state in SETTLED for node in changes.nodes.values()):
        changed["strikes"] = 0
    connection.execute(update(RUNS).where(RUNS.c.id == lease.run).values(changed))


def _node_row(run: str, position: int, node: NodeRecord) -> dict[str, Any]:
    named = {name: getattr(node, name) for name in ("id", "stage", *_CHANGING)}
    return {"run": run, "position": position, **named}


def _output_row(run: str, owner: str, now: float, position: int, output: NewOutput) -> dict[str, Any]:
    return {
        "id": new_id("asset", now),
        "kind": output.kind,
        "content_type": output.content_type,
        "file_name": output.file_name,
        "digest": output.blob.digest,
        "bytes": output.blob.bytes,
        "owner": owner,
        "created_at": now,
        "run": run,
        "output": output.name,
        "position": position,
        "details": dict(output.details),
    }
