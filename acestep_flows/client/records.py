"""Responses of a server as frozen records. Unknown fields of newer servers are ignored, but `content` has them."""

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
    """Base of the records of responses."""

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Read the record from JSON."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})


@dataclass(frozen=True)
class Output(ClientRecord):
    """One output file of a run. `asset` is its id for inputs of other runs; `expired` says that it was removed."""

    url: str
    content_type: str
    bytes: int
    kind: str = ""
    file_name: str = ""
    asset: str = ""
    expired: bool = False


@dataclass(frozen=True)
class Node(ClientRecord):
    """One node of a run. `preview` has `step`, `steps` and `seconds` of its latest preview, if there is one."""

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
    """A run.

    Attributes:
        state: queued, running, succeeded, failed or cancelled.
        created_at: time of acceptance, ISO 8601.
        progress: 0 to 1.
        outputs: by name; empty until the run succeeded.
        inputs: resolved inputs: defaults filled in, seeds drawn; None in a list that was asked for without inputs.
        error: `code`, `message` and `node` of its error.
        queue_position: number of runs that start before it; None unless it is queued.
        estimate: seconds until it ends, where known.
        seconds: from start to end.
        cancel_requested: whether it is to stop at its next step. It is still running.
        started_at, finished_at, deadline_at: times in ISO 8601; None where there is none.
        labels: short texts by name, such as `title`.
        content: the whole response.
    """

    id: str
    graph: str
    state: str
    created_at: str = ""
    progress: float = 0.0
    nodes: tuple[Node, ...] = ()
    outputs: Mapping[str, Output] = field(default_factory=dict)
    inputs: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    queue_position: int | None = None
    estimate: float | None = None
    seconds: float | None = None
    cancel_requested: bool = False
    started_at: str | None = None
    finished_at: str | None = None
    deadline_at: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Read the run from JSON."""
        parts = {
            "nodes": tuple(Node.read(node) for node in content.get("nodes", ())),
            "outputs": {name: Output.read(output) for name, output in content.get("outputs", {}).items()},
            "warnings": tuple(content.get("warnings", ())),
            "content": content,
        }
        return super().read({**content, **parts})

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.state in ENDED

    @property
    def reason(self) -> str:
        """Why it failed or was cancelled, in words; empty if it did not."""
        return "" if self.error is None else str(self.error.get("message", ""))

    @property
    def failure(self) -> FlowsError | None:
        """Why it failed or was cancelled: the exception that the same graph raises in process; None if it did not."""
        return None if self.error is None else failure(self.error)


@dataclass(frozen=True)
class RunEvent:
    """One event of a run.

    Attributes:
        seq: number of the event within the run. `events(run, after=seq)` resumes after it.
        type: for a node: queued, started, progress, preview, cached, finished, skipped, failed or cancelled. For the
            run: accepted, started, continued, succeeded, failed or cancelled.
        node: id of the node; empty for the run itself.
        time: seconds since the epoch. `at` is the same in ISO 8601.
        progress: progress of the run, if the event has it.
        content: the whole event.
    """

    seq: int
    type: str
    node: str
    stage: str
    time: float
    progress: float | None
    content: Mapping[str, Any] = field(repr=False)

    @property
    def at(self) -> str:
        """Time in ISO 8601; empty if the server is older than 0.2.0."""
        return str(self.content.get("at", ""))

    @property
    def last(self) -> bool:
        """Whether it is the last event of the run."""
        return not self.node and self.type in ENDED


@dataclass(frozen=True)
class NumberedRunEvent:
    """An event of any of the caller's runs.

    Attributes:
        number: counts the events of all runs; `all_events(after=number)` resumes after it.
        run: the id of the run; empty for `ready`, the first event of a stream.
    """

    number: int
    run: str
    event: RunEvent
