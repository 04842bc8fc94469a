"""The run table as executors see it: claim a run, say now and then that one still works on it, end it once.

Everything an executor writes about a run counts only while its lease is the latest: of two that believe to have the
same run, the one that claimed it first can write nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, or_, select, update

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import Claimed, Lease, NewOutput, NodeRecord, RunState
from acestep_flows.api.store.rows import SHOWN, end, new_id, node_record, run_event, run_record, tell
from acestep_flows.api.store.schema import ASSETS, EXECUTORS, NODES, RUNS
from acestep_flows.errors import Cancelled, DeadlineExceeded, FlowsError, LostProcess

AGEING_SECONDS = 60.0
"""Waiting that makes up for one step of priority: nothing is passed over for ever, whatever comes after it."""

STRIKES = 5
"""Executors a run may take down, one after the other with no node finished in between, before it is given up."""

SETTLED = frozenset({"finished", "cached", "skipped"})
"""States of nodes that need not run again."""

_LATE = DeadlineExceeded("the deadline passed while the run waited")
_LONG_DEAD_SECONDS = 3600.0
_CHANGING = ("state", "step", "steps", "seconds", "started_at", "finished_at", "error")


@dataclass(frozen=True)
class Changes:
    """What happened to a run since it was last written.

    Attributes:
        events: type and body of each, in order.
        nodes: by position in the plan.
        progress: of the whole run.
    """

    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    nodes: Mapping[int, NodeRecord] = field(default_factory=dict)
    progress: float = 0.0


class Leases:
    """Claims on runs. Its methods block (milliseconds): from an event loop, call them in a thread.

    Args:
        seconds: how long a lease holds after it was last renewed.
        clock: seconds since the epoch; the clocks of executors may differ by much less than a lease.
    """

    def __init__(self, database: Database, seconds: float = 10.0, clock: Callable[[], float] = time.time) -> None:
        self.seconds = seconds
        self._database, self._clock = database, clock

    def claim(self, executor: str, busy: Collection[str] = ()) -> Claimed | None:
        """The next run to work on, in the order of `turn`; None where nothing is to be done.

        Of several owners, the one with the fewest runs under way comes first. Runs whose executor went silent are
        among them. On the way, runs past their deadline and runs that took down too many executors are ended.

        Args:
            busy: runs that the executor still works on, though it lost them.
        """
        if not self._waiting(busy):
            return None
        while True:
            # One transaction for each run looked at: what is ended on the way stays ended.
            with self._database.write() as connection:
                now = self._clock()
                row = connection.execute(_next(now, busy)).first()
                if row is None:
                    return None
                if (verdict := _verdict(row, now)) is not None:
                    end(connection, row.id, end_state(verdict), now, verdict)
                    continue
                return self._taken(connection, row.id, executor, now)

    def renew(self, executor: str, slots: int, leases: Iterable[Lease]) -> set[str]:
        """Keep leases for another while; the runs whose lease still counts. Also says that the executor lives."""
        now = self._clock()
        held: set[str] = set()
        with self._database.write() as connection:
            seen = {"slots": slots, "seen_at": now}
            if not connection.execute(update(EXECUTORS).where(EXECUTORS.c.name == executor).values(seen)).rowcount:
                connection.execute(insert(EXECUTORS).values(name=executor, **seen))
                connection.execute(delete(EXECUTORS).where(EXECUTORS.c.seen_at < now - _LONG_DEAD_SECONDS))
            for lease in leases:
                renewed = update(RUNS).where(_counts(lease)).values(lease_until=now + self.seconds)
                if connection.execute(renewed).rowcount:
                    held.add(lease.run)
        return held

    def leave(self, executor: str) -> None:
        """The executor ends: it counts for no estimate any more."""
        with self._database.write() as connection:
            connection.execute(delete(EXECUTORS).where(EXECUTORS.c.name == executor))

    def unwanted(self, executor: str) -> set[str]:
        """Runs of an executor that somebody wants cancelled."""
        mine = select(RUNS.c.id).where(
            RUNS.c.state == RunState.RUNNING.value, RUNS.c.executor == executor, RUNS.c.cancel_requested.is_(True)
        )
        with self._database.read() as connection:
            return set(connection.execute(mine).scalars())

    def expire(self) -> int:
        """End the runs that wait and are past their deadline; how many."""
        now = self._clock()
        late = select(RUNS.c.id).where(RUNS.c.state == RunState.QUEUED.value, RUNS.c.deadline_at <= now)
        with self._database.read() as connection:
            if connection.execute(late.limit(1)).first() is None:
                return 0
        with self._database.write() as connection:
            ids = connection.execute(late).scalars().all()
            for id in ids:
                end(connection, id, RunState.FAILED, now, _LATE)
        return len(ids)

    def begin(self, lease: Lease, nodes: Sequence[NodeRecord]) -> tuple[NodeRecord, ...] | None:
        """Write the nodes of a run that starts; of one that goes on, those unfinished wait again.

        Returns:
            The nodes as they stand; None where the lease is lost.
        """
        with self._database.write() as connection:
            if not holds(connection, lease):
                return None
            mine = NODES.c.run == lease.run
            if nodes and connection.execute(select(NODES.c.position).where(mine).limit(1)).first() is None:
                connection.execute(
                    insert(NODES), [_node_row(lease.run, position, node) for position, node in enumerate(nodes)]
                )
            else:
                anew = {"state": "waiting", "step": None, "steps": None, "started_at": None, "error": None}
                connection.execute(update(NODES).where(mine, NODES.c.state.not_in(SETTLED)).values(anew))
            rows = connection.execute(select(NODES).where(mine).order_by(NODES.c.position))
            return tuple(node_record(row) for row in rows)

    def record(self, written: Mapping[Lease, Changes]) -> set[Lease]:
        """Write what happened to some runs; the leases that still count. Of the others nothing is written."""
        held: set[Lease] = set()
        with self._database.write() as connection:
            for lease, changes in written.items():
                if holds(connection, lease):
                    _write(connection, lease, changes)
                    held.add(lease)
        return held

    def finish(
        self,
        lease: Lease,
        state: RunState,
        *,
        changes: Changes | None = None,
        outputs: Sequence[NewOutput] = (),
        warnings: Sequence[str] = (),
        error: FlowsError | None = None,
    ) -> bool:
        """End a run, with all that belongs to its end, in one transaction; False where the lease is lost."""
        with self._database.write() as connection:
            if not holds(connection, lease):
                return False
            now = self._clock()
            if changes is not None:
                _write(connection, lease, changes)
            owner, known = connection.execute(select(RUNS.c.owner, RUNS.c.warnings).where(RUNS.c.id == lease.run)).one()
            if outputs:
                connection.execute(
                    insert(ASSETS),
                    [_output_row(lease.run, owner, now, at, output) for at, output in enumerate(outputs)],
                )
            all_warnings = [*known, *(warning for warning in warnings if warning not in known)]
            connection.execute(update(RUNS).where(RUNS.c.id == lease.run).values(warnings=all_warnings))
            end(connection, lease.run, state, now, error)
        return True

    def release(self, lease: Lease) -> bool:
        """Give a run back to the queue, where it is the next of its priority; False where the lease is lost."""
        back = {"state": RunState.QUEUED.value, "executor": None, "lease_until": None, "strikes": 0}
        with self._database.write() as connection:
            return connection.execute(update(RUNS).where(_counts(lease)).values(back)).rowcount > 0

    def _waiting(self, busy: Collection[str]) -> bool:
        """Whether there is anything to claim: looked up without standing in the way of writers."""
        with self._database.read() as connection:
            return connection.execute(_next(self._clock(), busy)).first() is not None

    def _taken(self, connection: Connection, id: str, executor: str, now: float) -> Claimed:
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
        tell(connection, id, [run_event("started" if started is None else "continued", now)])
        row: Any = connection.execute(select(*SHOWN, RUNS.c.content).where(RUNS.c.id == id)).one()
        return Claimed(Lease(id, executor, row.attempt), run_record(row, {}), row.content)


def end_state(error: FlowsError) -> RunState:
    """How a run ends that an error ended."""
    return RunState.CANCELLED if isinstance(error, Cancelled) else RunState.FAILED


def _verdict(row: Any, now: float) -> FlowsError | None:
    """Why a run that could be claimed is ended instead."""
    if row.cancel_requested:
        return Cancelled("the run was cancelled")
    if row.deadline_at is not None and row.deadline_at <= now:
        return _LATE
    if row.strikes >= STRIKES:
        return LostProcess(f"given up: {row.strikes} executors died while they worked on it")
    return None


def turn() -> Any:
    """What runs wait in the order of: when they were accepted, earlier by a minute for each step of priority, and
    later by as long as they are expected to take: who needs little need not wait for somebody who needs much."""
    return RUNS.c.created_at - AGEING_SECONDS * RUNS.c.priority + func.coalesce(RUNS.c.expected_seconds, 0.0)


def _next(now: float, busy: Collection[str]) -> Any:
    """The run that is to be claimed next."""
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
        .order_by(func.coalesce(running.c.runs, 0), turn(), RUNS.c.id)
        .limit(1)
    )


def _counts(lease: Lease) -> Any:
    """The run, if the lease is the latest on it and it has not ended."""
    return and_(
        RUNS.c.id == lease.run,
        RUNS.c.state == RunState.RUNNING.value,
        RUNS.c.executor == lease.executor,
        RUNS.c.attempt == lease.attempt,
    )


def holds(connection: Connection, lease: Lease) -> bool:
    """Whether the lease is the latest on its run, which has not ended."""
    return connection.execute(select(RUNS.c.id).where(_counts(lease))).first() is not None


def _write(connection: Connection, lease: Lease, changes: Changes) -> None:
    tell(connection, lease.run, changes.events)
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
