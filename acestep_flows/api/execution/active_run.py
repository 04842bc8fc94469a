"""A run that an executor is working on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from acestep_flows.api.execution.run_journal import Journal
from acestep_flows.api.execution.tracing import RunTrace
from acestep_flows.api.store.leases import RunChanges
from acestep_flows.api.store.records import ClaimedRun, Lease
from acestep_flows.errors import FlowsError
from acestep_flows.graph.execution.run import PlanRun


@dataclass(eq=False)
class ActiveRun:
    """A claimed run in the hands of an executor.

    Attributes:
        claimed: the run with its lease and graph.
        run: the computation, once it is planned.
        journal: collects its changes, once it is planned.
        cancelled: whether a cancellation was requested.
        lost: whether another executor holds the latest lease.
        ending: whether its end is being written. If its lease is invalid by then, that write may have ended it.
        trace: its spans, where runs are traced.
        task: the task that works on it.
    """

    claimed: ClaimedRun
    run: PlanRun | None = None
    journal: Journal | None = None
    cancelled: bool = False
    lost: bool = False
    ending: bool = False
    trace: RunTrace | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def lease(self) -> Lease:
        """The executor's lease on the run."""
        return self.claimed.lease

    def cancel(self) -> None:
        """Stop the computation at its next step."""
        self.cancelled = True
        if self.run is not None:
            self.run.cancel()

    def end_trace(self, state: str, error: FlowsError | None = None) -> None:
        """End the spans, if there are any that have not ended."""
        if self.trace is not None:
            self.trace.end(state, error)

    def take_changes(self) -> RunChanges | None:
        """What happened since the last call; None if nothing did."""
        return None if self.journal is None else self.journal.take_changes()

    def restore(self, changes: RunChanges | None) -> None:
        """Put back changes that could not be written."""
        if changes is not None and self.journal is not None:
            self.journal.restore(changes)
