"""What a server tells, as frozen records. Fields that it adds later are passed over, but stand in `content`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from acestep_flows.client.failures import failure
from acestep_flows.errors import FlowsError

ENDED = frozenset({"succeeded", "failed", "cancelled"})
"""States after which a run does not change."""


@dataclass(frozen=True)
class ClientRecord:
    """Base of the records."""

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """The record in JSON as the server sends it."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: given for name, given in content.items() if name in known})


@dataclass(frozen=True)
class Output(ClientRecord):
    """One file that a run gave; `asset` is the same file as an input of another run."""

    url: str
    content_type: str
    bytes: int
    kind: str = ""
    file_name: str = ""
    asset: str = ""


@dataclass(frozen=True)
class Node(ClientRecord):
    """One node of a run; `preview` tells of its latest one (`step`, `steps`, `seconds`), if there is any."""

    id: str
    stage: str
    state: str
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    preview: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Asset(ClientRecord):
    """A file on the server that runs can read."""

    id: str
    kind: str
    content_type: str
    bytes: int
    file_name: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run(ClientRecord):
    """A run as it stands.

    Attributes:
        state: queued, running, succeeded, failed or cancelled.
        created_at: ISO 8601.
        progress: 0 to 1.
        outputs: by name; empty until it succeeded.
        inputs: resolved: defaults filled in, seeds drawn.
        queue_position: runs that start before it; None unless it is queued.
        estimate: seconds until it ends, where known.
        seconds: from its start to its end.
        content: everything the server said.
    """

    id: str
    graph: str
    state: str
    created_at: str = ""
    progress: float = 0.0
    nodes: tuple[Node, ...] = ()
    outputs: Mapping[str, Output] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    queue_position: int | None = None
    estimate: float | None = None
    seconds: float | None = None
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """The run in JSON as the server sends it."""
        parts = {
            "nodes": tuple(Node.read(node) for node in content.get("nodes", ())),
            "outputs": {name: Output.read(output) for name, output in content.get("outputs", {}).items()},
            "warnings": tuple(content.get("warnings", ())),
            "content": content,
        }
        return super().read({**content, **parts})

    @property
    def ended(self) -> bool:
        """Whether it is over for good."""
        return self.state in ENDED

    @property
    def failure(self) -> FlowsError | None:
        """Why it failed or was cancelled, as the error that the same graph would have raised in process."""
        return None if self.error is None else failure(self.error)


@dataclass(frozen=True)
class RunEvent:
    """One thing that happened to a run.

    Attributes:
        seq: its number within the run: `events(run, after=seq)` goes on behind it.
        type: queued, started, progress, preview, cached, finished, skipped, failed, cancelled of a node; accepted,
            started, continued, succeeded, failed, cancelled of the run.
        node: empty for the run itself.
        progress: of the run, where the event tells.
        content: everything the server said.
    """

    seq: int
    type: str
    node: str
    stage: str
    time: float
    progress: float | None
    content: Mapping[str, Any] = field(repr=False)

    @property
    def last(self) -> bool:
        """Whether the run is over with it."""
        return not self.node and self.type in ENDED
