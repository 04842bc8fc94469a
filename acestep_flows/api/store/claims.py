"""Which runs an executor claims next, and the claims themselves. The caller opens the transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, and_, bindparam, func, literal, not_, or_, select, update

from acestep_flows.api.store.records import UNFINISHED, ClaimedRun, Lease, RunState
from acestep_flows.api.store.rows import RECORD_COLUMNS, is_called_at, run_event, run_record
from acestep_flows.api.store.run_ends import ENDING_COLUMNS, EventBatch, RunEnd, end_runs
from acestep_flows.api.store.schema import QUEUE, RUNS, SWITCHES
from acestep_flows.errors import Cancelled, DeadlineExceeded, FlowsError, LostProcess

AGEING_SECONDS = 60.0
"""Waiting time that equals one step of priority. So no run waits for ever, however many urgent runs follow it."""

STRIKES = 5
"""How many executors may die in a row while working on a run, with no node finished in between, before it fails."""

AHEAD = 64
"""Runs at the head of the queue that are looked at, because other executors may be claiming the first ones."""

LATE = DeadlineExceeded("the deadline, which counts from the submission, passed while the run waited")


def queue_order() -> Any:
    """The SQL expression that orders the queue, in seconds since the epoch.

    It is the time of acceptance, minus AGEING_SECONDS for each step of priority, plus the expected duration. So short
    runs need not wait for long ones.
    """
    return RUNS.c.created_at - AGEING_SECONDS * RUNS.c.priority + func.coalesce(RUNS.c.expected_seconds, 0.0)


def can_be_claimed() -> Any:
    """The SQL condition that a run is queued, or that its lease has expired, and that it is not among `busy` runs."""
    waits = or_(RUNS.c.state == RunState.QUEUED.value, RUNS.c.lease_until < bindparam("now"))
    return and_(RUNS.c.state.in_(UNFINISHED), waits, RUNS.c.id.not_in(bindparam("busy", expanding=True)))


def may_claim() -> Any:
    """The SQL condition that the queue is not paused, and that the server called `executor` does not drain."""
    stopping = SWITCHES.c.name.in_([literal(QUEUE), bindparam("executor")])
    return not_(select(SWITCHES.c.name).where(stopping).exists())


def _next_runs() -> Any:
    """The query of `next_runs`. Runs that others have locked are passed over.

    Owners take turns: the one with the fewest running runs comes first, and each run that it gets counts.
    """
    # An expression, or SQLite would read the whole index of owners to have them in order.
    owner = RUNS.c.owner.concat("").label("owner")
    running = (
        select(owner, func.count().label("runs"))
        .where(RUNS.c.state == RunState.RUNNING.value, RUNS.c.lease_until >= bindparam("now"))
        .group_by(owner)
        .subquery()
    )
    place = func.row_number().over(partition_by=owner.element, order_by=(queue_order(), RUNS.c.id))
    waiting = (
        select(RUNS.c.id, owner, place.label("place"), queue_order().label("turn"))
        .where(can_be_claimed(), may_claim())
        .subquery()
    )
    rank = (func.coalesce(running.c.runs, 0) + waiting.c.place).label("rank")
    first = (
        select(waiting.c.id, rank, waiting.c.turn)
        .select_from(waiting.outerjoin(running, running.c.owner == waiting.c.owner))
        .order_by(rank, waiting.c.turn, waiting.c.id)
        .limit(bindparam("looked_at", type_=Integer))
        .subquery()
    )
    columns = RUNS.c.cancel_requested, RUNS.c.deadline_at, RUNS.c.strikes
    return (
        select(*ENDING_COLUMNS, *columns)
        .select_from(RUNS.join(first, first.c.id == RUNS.c.id))
        .where(can_be_claimed())  # once more: another executor may have claimed it since `waiting` was read
        .order_by(first.c.rank, first.c.turn, RUNS.c.id)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True, of=RUNS)
    )


_NEXT_RUNS = _next_runs()

WAITING_RUN = select(RUNS.c.id).where(can_be_claimed(), may_claim()).limit(1)
"""A run that can be claimed, if there is one, with the parameters `now`, `busy` and `executor`."""


def next_runs(connection: Connection, executor: str, now: float, busy: Collection[str], most: int) -> Sequence[Any]:
    """Lock the runs that an executor claims next, `most` at most; none while a switch stops it. Returns their rows."""
    looked_at = AHEAD + 8 * most
    parameters = {"executor": executor, "now": now, "busy": sorted(busy), "looked_at": looked_at, "most": most}
    return connection.execute(_NEXT_RUNS, parameters).all()


def claim_rows(
    connection: Connection, rows: Sequence[Any], executor: str, now: float, until: float
) -> list[ClaimedRun]:
    """Claim the runs of `next_runs` until `until`, and end those that must not run again."""
    events = EventBatch()
    reasons = {row.id: reason for row in rows if (reason := _reason_to_end(row, now)) is not None}
    waiting = {row.id: row for row in rows if row.id not in reasons}
    claimed = _claim(connection, waiting, executor, now, until) if waiting else []
    for id, row in waiting.items():
        events.add(id, row.last_event, [run_event("started" if row.started_at is None else "continued", now)])
    ends = [RunEnd(id, end_state(reason), reason) for id, reason in reasons.items()]
    end_runs(connection, ends, {row.id: row for row in rows}, now, events)
    events.write(connection)
    return claimed


def _claim(
    connection: Connection, rows: Mapping[str, Any], executor: str, now: float, until: float
) -> list[ClaimedRun]:
    """Give an executor the runs of `rows`, in their order. They have one event more then."""
    changes = {
        "state": RunState.RUNNING.value,
        "executor": executor,
        "lease_until": until,
        "attempt": RUNS.c.attempt + 1,
        "strikes": RUNS.c.strikes + 1,
        "started_at": func.coalesce(RUNS.c.started_at, now),
        "last_event": RUNS.c.last_event + 1,
    }
    claiming = update(RUNS).where(RUNS.c.id.in_(rows)).values(changes).returning(*RECORD_COLUMNS, RUNS.c.content)
    claimed = {row.id: row for row in connection.execute(claiming)}
    begun = [id for id, row in rows.items() if row.started_at is None and is_called_at("start", row.webhook)]
    if begun:
        connection.execute(update(RUNS).where(RUNS.c.id.in_(begun)).values(webhook_due=now))
    return [
        ClaimedRun(Lease(row.id, executor, row.attempt), run_record(row, {}), row.content)
        for row in (claimed[id] for id in rows)
    ]


def end_state(error: FlowsError) -> RunState:
    """The end state of a run that ended with `error`."""
    return RunState.CANCELLED if isinstance(error, Cancelled) else RunState.FAILED


def _reason_to_end(row: Any, now: float) -> FlowsError | None:
    """Why a run is ended instead of claimed; None if it may be claimed."""
    if row.cancel_requested:
        return Cancelled("the run was cancelled")
    if row.deadline_at is not None and row.deadline_at <= now:
        return LATE
    if row.strikes >= STRIKES:
        return LostProcess(f"the run is given up: {row.strikes} executors died while they worked on it")
    return None
