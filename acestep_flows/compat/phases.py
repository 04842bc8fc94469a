"""The states of a run as every family has them under names of its own, and how far a run is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from acestep_flows.api.http.errors import status_of
from acestep_flows.api.store.records import NodeRecord, QueueEstimate, RunRecord, RunState
from acestep_flows.errors import DeadlineExceeded


class Phase(StrEnum):
    """Where a run is. A failed one is told apart by whose fault it was."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    INVALID = "invalid"
    """Failed: an input turned out to be unusable."""
    FAILED = "failed"
    """Failed in a stage, or in the server."""
    TIMED_OUT = "timed out"
    """Failed at its deadline."""
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self not in (Phase.QUEUED, Phase.RUNNING)


def phase_of(record: RunRecord) -> Phase:
    """The phase of a run."""
    if record.state is not RunState.FAILED:
        return Phase(record.state.value)
    code = str((record.error or {}).get("code", ""))
    if code == DeadlineExceeded.code:
        return Phase.TIMED_OUT
    return Phase.INVALID if 400 <= status_of(code) < 500 else Phase.FAILED


def error_message(record: RunRecord) -> str:
    """Why a run failed, with the server's folders in it; empty if it did not fail."""
    return str((record.error or {}).get("message", ""))


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        fraction: 0 to 1.
        node: the node at work; empty while there is none.
        stage: its stage.
        step: latest step of it; 0 before the first.
        steps: number of its steps; 0 where its stage has none.
        position: runs that start before this one; None unless it is queued.
        seconds: until it ends, where that can be guessed.
    """

    fraction: float
    node: str = ""
    stage: str = ""
    step: int = 0
    steps: int = 0
    position: int | None = None
    seconds: float | None = None


def progress_of(record: RunRecord, nodes: Sequence[NodeRecord], estimate: QueueEstimate) -> Progress:
    """The progress of a run, from its nodes and its place in the queue."""
    at_work = [node for node in nodes if node.state == "started"]
    stepping = [node for node in at_work if node.steps] or at_work
    node = stepping[0] if stepping else None
    fraction = 1.0 if record.state is RunState.SUCCEEDED else record.progress
    if node is None:
        return Progress(fraction, position=estimate.position, seconds=estimate.seconds)
    return Progress(fraction, node.id, node.stage, node.step or 0, node.steps or 0, estimate.position, estimate.seconds)
