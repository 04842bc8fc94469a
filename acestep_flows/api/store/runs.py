"""The run table as those see it who submit runs and look at them."""

from __future__ import annotations

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import (
    Limits,
    NewRun,
    NodeRecord,
    Outlook,
    Page,
    RunEvent,
    RunRecord,
    RunState,
)


class RunTable:
    """Runs in the database. Its methods block (milliseconds): from an event loop, call them in a thread.

    Executors work on runs through `leases.Leases`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def accept(self, new: NewRun, limits: Limits = Limits()) -> tuple[RunRecord, bool]:
        """Put a run in the queue; when this returns, it is on disk.

        Returns:
            The run, and whether it is new: False where its idempotency key was used before for the same request.

        Raises:
            Conflict: the idempotency key was used for another request.
            Overloaded: the queue is full, or the owner has too many runs; nothing is kept of the run.
            NotFound: an asset in its inputs is gone.
        """
        raise NotImplementedError

    def get(self, id: str, owner: str | None = None) -> RunRecord:
        """One run; of another owner it does not exist.

        Raises:
            NotFound: there is none.
        """
        raise NotImplementedError

    def list(
        self, *, owner: str | None = None, state: RunState | None = None, graph: str | None = None, limit: int = 50,
        after: str | None = None,
    ) -> Page:  # fmt: skip
        """Runs, the newest first; `after` is the `next` of the page before.

        Raises:
            InputError: `after` is no such thing.
        """
        raise NotImplementedError

    def nodes(self, id: str) -> tuple[NodeRecord, ...]:
        """The nodes of a run in the order of its plan; empty before it first started."""
        raise NotImplementedError

    def events(self, id: str, after: int = 0, limit: int = 1000) -> tuple[RunEvent, ...]:
        """Events whose `seq` is greater than `after`, oldest first. The last of a run has an end state as its type."""
        raise NotImplementedError

    def cancel(self, id: str, owner: str | None = None) -> RunRecord:
        """Stop a run: at once when it is queued, at its next step boundary when it works. No-op when it is over.

        Raises:
            NotFound: there is none.
        """
        raise NotImplementedError

    def outlook(self, id: str) -> Outlook:
        """Queue position and seconds to go."""
        raise NotImplementedError

    def counts(self) -> dict[RunState, int]:
        """How many runs there are in each state."""
        raise NotImplementedError

    def active(self, owner: str) -> int:
        """Runs of an owner that wait or work."""
        raise NotImplementedError

    # Webhooks: `finish` and `cancel` make them due; a sender takes them, and tells how it went.

    def take_webhooks(self, limit: int = 10, hold: float = 60.0) -> tuple[RunRecord, ...]:
        """Runs over, whose webhook is due; nobody else is given them for `hold` seconds."""
        raise NotImplementedError

    def webhook_sent(self, id: str) -> None:
        """The webhook was delivered, or is given up."""
        raise NotImplementedError

    def webhook_failed(self, id: str, retry_at: float) -> int:
        """The webhook is due again at `retry_at`; how often it has failed now."""
        raise NotImplementedError
