"""The events of a run: one stream for the progress bar, the HTTP API and the tests.

A node is `queued` when its inputs exist, `started` when its stage works, and ends in exactly one of `finished`,
`cached` (nothing was computed for this run), `skipped` (its `when` is false), `failed` and `cancelled`. Events whose
`node` is empty are about the run itself: `started`, then `finished`, `failed` or `cancelled`, the last event of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from acestep_flows.errors import FlowsError

EventType: TypeAlias = Literal["queued", "started", "progress", "cached", "finished", "skipped", "failed", "cancelled"]

ENDS: frozenset[EventType] = frozenset({"cached", "finished", "skipped", "failed", "cancelled"})
"""Types that end a node: no event of the node follows."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run.

    Attributes:
        node: the node's id; empty for the run.
        stage: the node's stage; empty for the run.
        time: seconds since the epoch.
        step: steps done, of `steps` in all (progress).
        seconds: that the stage worked or the run took (finished); that the cache saved, where known (cached).
        error: the reason (failed, cancelled).
    """

    type: EventType
    node: str
    stage: str
    time: float
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    error: FlowsError | None = None

    def as_json(self) -> dict[str, Any]:
        """The event as JSON: fields that do not apply are left out, an error is its code and message."""
        optional = {"step": self.step, "steps": self.steps, "seconds": self.seconds}
        content: dict[str, Any] = {"type": self.type, "node": self.node, "stage": self.stage, "time": self.time}
        content |= {name: number for name, number in optional.items() if number is not None}
        if self.error is not None:
            content["error"] = {"code": self.error.code, "message": str(self.error)}
        return content
