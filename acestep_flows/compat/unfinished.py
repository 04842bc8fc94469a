"""What a request that waits for a song gets in place of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from acestep_flows.api.http.errors import status_of
from acestep_flows.api.store.records import RunRecord
from acestep_flows.errors import DeadlineExceeded, FlowsError, Overloaded

RESTART = 30.0
"""Retry-After in seconds while the server stops; a start takes 15 to 40 s."""


class StillRunning(DeadlineExceeded):
    """A run takes longer than a request may wait. It goes on.

    Args:
        run: its id.
        seconds: how long the request waited.
    """

    def __init__(self, run: str, seconds: float) -> None:
        self.run = run
        super().__init__(f"run {run} takes longer than {seconds:g} s; it goes on")


class Stopping(Overloaded):
    """The server stops while a request waits. The run goes on after its next start.

    Args:
        run: its id.
    """

    def __init__(self, run: str) -> None:
        self.run = run
        super().__init__(f"the server stops; run {run} goes on when it has started again", retry_after=RESTART)


class FailedRun(FlowsError):
    """A run has failed or was cancelled. Status and code are those of its error.

    Attributes:
        record: the run.
        run: its id.
    """

    def __init__(self, record: RunRecord) -> None:
        error: Mapping[str, Any] = record.error or {}
        self.record, self.run = record, record.id
        self.code = str(error.get("code", "error"))  # type: ignore[misc]
        self.status = status_of(self.code)  # type: ignore[misc]
        super().__init__(str(error.get("message", "")) or f"run {record.id} was {record.state}")
