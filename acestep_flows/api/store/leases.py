"""The run table as executors use it: claim a run, renew the lease while working on it, end it once.

An executor can write about a run only while it holds the latest lease. If two executors believe that they have the
same run, the one that claimed it first can no longer write anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Boolean, Connection, and_, bindparam, case, delete, insert, select, update

from acestep_flows.api.store.claims import LATE, WAITING_RUN, claim_rows, next_runs
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.group_commit import LARGEST_GROUP, GroupCommit
from acestep_flows.api.store.node_rows import SETTLED, add_nodes, nodes_of, reset_nodes, write_nodes
from acestep_flows.api.store.records import ClaimedRun, Lease, NewOutput, NodeRecord, RunState
from acestep_flows.api.store.rows import new_id
from acestep_flows.api.store.run_ends import ENDING_COLUMNS, EventBatch, RunEnd, end_runs
from acestep_flows.api.store.schema import ASSETS, EXECUTORS, RUNS
from acestep_flows.errors import FlowsError

ORPHANED_LEASES = 3
"""Lengths of a lease after its end, after which its run returns to the queue."""

_LONG_DEAD_SECONDS = 3600.0


@dataclass(frozen=True)
class RunChanges:
    """What happened to a run since the last write.

    Attributes:
        events: type and body of each event, in order.
        nodes: changed nodes by their position in the plan; those that are not written yet are changed, too.
        progress: of the whole run, 0 to 1.
    """

    events: Sequence[tuple[str, Mapping[str, Any]]] = ()
    nodes: Mapping[int, NodeRecord] = field(default_factory=dict)
    progress: float = 0.0


@dataclass(frozen=True)
class _Ending:
    """The end of a run, as `finish` is given it."""

    lease: Lease
    state: RunState
    changes: RunChanges
    outputs: Sequence[NewOutput]
    warnings: Sequence[str]
    error: FlowsError | None

    @property
    def end(self) -> RunEnd:
        """The end itself, without nodes and outputs."""
        changes = self.changes
        progress = changes.progress if changes.nodes else None
        music = sum(output.details.get("seconds") or 0.0 for output in self.outputs if output.kind == "audio")
        return RunEnd(self.lease.run, self.state, self.error, changes.events, progress, self.warnings, music)


class Leases:
    """Leases on runs. The methods block for milliseconds: from an event loop, call them in a thread.

    Args:
        seconds: how long a lease is valid after its last renewal.
        clock: seconds since the epoch. The clocks of executors must agree to much less than `seconds`.
    """

    def __init__(self, database: Database, seconds: float = 10.0, clock: Callable[[], float] = time.time) -> None:
        self.seconds = seconds
        self._database, self._clock = database, clock
        self._more_wait = False
        self._beginnings = GroupCommit(self._begin_group)
        self._ends = GroupCommit(self._finish_group)

    def claim(self, executor: str, busy: Collection[str] = ()) -> ClaimedRun | None:
        """Claim the next run, in the order of `queue_order`; None if no run waits, or a switch stops this executor.

        The owner with the fewest running runs comes first. Runs with an expired lease count as waiting. Runs that were
        cancelled, are past their deadline, or outlived too many executors are ended instead of claimed.

        Args:
            executor: name of the executor.
            busy: runs that the executor still computes although it lost their lease.
        """
        claimed = self.claim_several(executor, 1, busy)
        return claimed[0] if claimed else None

    def claim_several(self, executor: str, most: int, busy: Collection[str] = ()) -> list[ClaimedRun]:
        """As `claim`, up to `most` runs in one transaction. Executors that claim at once get different runs."""
        if not (self._more_wait or self._has_work(executor, busy)):
            return []
        while True:
            with self._database.write_beside(durable=False) as connection:
                now = self._clock()
                rows = next_runs(connection, executor, now, busy, most)
                claimed = claim_rows(connection, rows, executor, now, now + self.seconds)
            self._more_wait = len(rows) == most
            if claimed or not rows:
                return claimed

    def renew(self, executor: str, slots: int, leases: Iterable[Lease]) -> set[str]:
        """Renew leases, and note that the executor is alive. Returns the runs whose lease is still valid."""
        now = self._clock()
        leases = list(leases)
        seen = {"slots": slots, "seen_at": now}
        with self._database.write_beside(durable=False) as connection:
            held = {lease.run for lease in _lock(connection, leases)}
            if held:
                renewed = update(RUNS).where(RUNS.c.id.in_(held)).values(lease_until=now + self.seconds)
                connection.execute(renewed)
            if not connection.execute(update(EXECUTORS).where(EXECUTORS.c.name == executor).values(seen)).rowcount:
                connection.execute(insert(EXECUTORS).values(name=executor, **seen))
                connection.execute(delete(EXECUTORS).where(EXECUTORS.c.seen_at < now - _LONG_DEAD_SECONDS))
        return held

    def remove_executor(self, executor: str) -> None:
        """Remove an executor that ends, so that queue estimates no longer count its slots."""
        with self._database.write_beside() as connection:
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
        late = RUNS.c.state == RunState.QUEUED.value, RUNS.c.deadline_at <= now
        with self._database.read() as connection:
            if connection.execute(select(RUNS.c.id).where(*late).limit(1)).first() is None:
                return 0
        some = select(*ENDING_COLUMNS).where(*late).order_by(RUNS.c.id).limit(LARGEST_GROUP)
        ended = 0
        while True:
            with self._database.write_beside() as connection:
                rows = {row.id: row for row in connection.execute(some.with_for_update(skip_locked=True))}
                events = EventBatch()
                end_runs(connection, [RunEnd(id, RunState.FAILED, LATE) for id in rows], rows, now, events)
                events.write(connection)
            ended += len(rows)
            if len(rows) < LARGEST_GROUP:
                return ended

    def requeue_orphans(self) -> int:
        """Return to the queue the runs whose executor died and that nobody else has room for. Returns how many.

        They keep their place, their finished nodes and the count of their strikes.
        """
        dead = self._clock() - ORPHANED_LEASES * self.seconds
        orphaned = RUNS.c.state == RunState.RUNNING.value, RUNS.c.lease_until < dead
        locked = select(RUNS.c.id).where(*orphaned).order_by(RUNS.c.id).limit(LARGEST_GROUP)
        with self._database.read() as connection:
            if connection.execute(locked.limit(1)).first() is None:
                return 0
        with self._database.write_beside() as connection:
            ids = connection.execute(locked.with_for_update(skip_locked=True)).scalars().all()
            back = {"state": RunState.QUEUED.value, "executor": None, "lease_until": None}
            connection.execute(update(RUNS).where(RUNS.c.id.in_(ids)).values(back))
            reset_nodes(connection, ids)
        return len(ids)

    def begin(self, lease: Lease, nodes: Sequence[NodeRecord]) -> tuple[NodeRecord, ...] | None:
        """Write the nodes of a run that may continue one of before, and let those wait again that have not settled.

        A run that nobody has claimed before may write them with its first changes instead.

        Returns:
            The nodes as stored; None if the lease is lost.
        """
        return self._beginnings.put((lease, nodes))

    def _begin_group(
        self, group: Sequence[tuple[Lease, Sequence[NodeRecord]]]
    ) -> Sequence[tuple[NodeRecord, ...] | None]:
        with self._database.write_beside(durable=False) as connection:
            held = _lock(connection, [lease for lease, _ in group])
            runs = [lease.run for lease in held]
            reset_nodes(connection, runs)
            stored = nodes_of(connection, runs)
            missing = {lease.run: nodes for lease, nodes in group if lease in held and not stored[lease.run]}
            add_nodes(connection, missing)
        return [(stored[lease.run] or tuple(nodes)) if lease in held else None for lease, nodes in group]

    def record(self, written: Mapping[Lease, RunChanges]) -> set[Lease]:
        """Write the changes of runs. Returns the leases that are still valid; nothing is written for the others."""
        with self._database.write_beside(durable=False) as connection:
            held, events = _lock(connection, written), EventBatch()
            write_nodes(connection, {lease.run: written[lease].nodes for lease in held})
            _write_progress(connection, {lease: (row, written[lease]) for lease, row in held.items()}, events)
            events.write(connection)
        return set(held)

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
        return self._ends.put(_Ending(lease, state, changes or RunChanges(), outputs, warnings, error))

    def _finish_group(self, group: Sequence[_Ending]) -> Sequence[bool]:
        with self._database.write_beside() as connection:
            now, events = self._clock(), EventBatch()
            held = _lock(connection, [ending.lease for ending in group])
            first = {ending.lease: ending for ending in reversed(group) if ending.lease in held}
            endings = [*first.values()]
            write_nodes(connection, {ending.lease.run: ending.changes.nodes for ending in endings})
            _keep_outputs(connection, endings, held, now)
            rows = {lease.run: row for lease, row in held.items()}
            end_runs(connection, [ending.end for ending in endings], rows, now, events)
            events.write(connection)
        return [first.get(ending.lease) is ending for ending in group]

    def release(self, lease: Lease) -> bool:
        """Return a run to the queue, where it keeps its place; False if the lease is lost."""
        back = {"state": RunState.QUEUED.value, "executor": None, "lease_until": None, "strikes": 0}
        with self._database.write_beside() as connection:
            return connection.execute(update(RUNS).where(_lease_condition(lease)).values(back)).rowcount > 0

    def _has_work(self, executor: str, busy: Collection[str]) -> bool:
        """Whether there is a run to claim. A read transaction, so that it does not block writers."""
        parameters = {"executor": executor, "now": self._clock(), "busy": sorted(busy)}
        with self._database.read() as connection:
            return connection.execute(WAITING_RUN, parameters).first() is not None


def _lease_condition(lease: Lease) -> Any:
    """The SQL condition that a run is running and `lease` is the latest lease on it."""
    return and_(
        RUNS.c.id == lease.run,
        RUNS.c.state == RunState.RUNNING.value,
        RUNS.c.executor == lease.executor,
        RUNS.c.attempt == lease.attempt,
    )


def lease_is_held(connection: Connection, lease: Lease) -> bool:
    """Whether the run is running and `lease` is the latest lease on it. Locks the run until the transaction ends."""
    return connection.execute(select(RUNS.c.id).where(_lease_condition(lease)).with_for_update()).first() is not None


_LOCKED = (
    select(*ENDING_COLUMNS, RUNS.c.executor, RUNS.c.attempt)
    .where(RUNS.c.id.in_(bindparam("runs", expanding=True)), RUNS.c.state == RunState.RUNNING.value)
    .order_by(RUNS.c.id)
    .with_for_update()
)


def _lock(connection: Connection, leases: Iterable[Lease]) -> dict[Lease, Any]:
    """Lock the runs of the leases that are valid, in the order of their ids. Returns the row of each."""
    wanted = set(leases)
    rows = connection.execute(_LOCKED, {"runs": sorted({lease.run for lease in wanted})})
    return {lease: row for row in rows if (lease := Lease(row.id, row.executor, row.attempt)) in wanted}


_PROGRESS = (
    update(RUNS)
    .where(RUNS.c.id == bindparam("of"))
    .values(
        progress=bindparam("to"),
        strikes=case((bindparam("settled", type_=Boolean), 0), else_=RUNS.c.strikes),
        last_event=bindparam("last"),
    )
)


def _write_progress(
    connection: Connection, written: Mapping[Lease, tuple[Any, RunChanges]], events: EventBatch
) -> None:
    """Write the progress of runs, whose row and changes are given, and add their events."""
    if not written:
        return
    connection.execute(
        _PROGRESS,
        [
            {
                "of": lease.run,
                "to": changes.progress,
                "settled": any(node.state in SETTLED for node in changes.nodes.values()),
                "last": events.add(lease.run, row.last_event, changes.events),
            }
            for lease, (row, changes) in written.items()
        ],
    )


def _keep_outputs(connection: Connection, endings: Sequence[_Ending], held: Mapping[Lease, Any], now: float) -> None:
    outputs = [
        _output_row(ending.lease.run, held[ending.lease].owner, now, at, output)
        for ending in endings
        for at, output in enumerate(ending.outputs)
    ]
    if outputs:
        connection.execute(insert(ASSETS), outputs)


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
