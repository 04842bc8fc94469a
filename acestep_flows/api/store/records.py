"""What the store holds, as plain frozen records. Times are seconds since the epoch.

A run is `queued` when it is on disk, `running` while an executor has its lease, and ends once: `succeeded`, `failed`
or `cancelled`. A run whose executor died stays `running` until another one claims it and goes on from the nodes that
were finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the run is over for good."""
        return self in ENDED


ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run to be accepted: everything it depends on, so that nothing that changes later can change it.

    Attributes:
        graph: the graph's name.
        digest: of the graph's content (`Plan.digest`).
        content: the graph and those it nests, as `recipes.graph_content` gives them.
        inputs: resolved: defaults filled in, seeds drawn, `{"asset": id}` where a value stands.
        assets: ids of the assets that the inputs name; kept as long as the run is.
        warnings: what the plan had to say.
        owner: whose it is, the name of an API key; empty without keys.
        priority: higher goes first.
        deadline: seconds from acceptance after which it is stopped, queued or running.
        cache: what the cache may do: `use`, `refresh` or `off`.
        format: of audio outputs.
        webhook: what to tell when it ends, as the webhook sender wants it.
        idempotency_key: with the same key and owner the same request is accepted once.
        request_digest: sha256 of the request's body, for the key.
        expected_seconds: what it will take, where known.
        preview_every: steps between previews of nodes that sample; None: none are made.
    """

    graph: str
    digest: str
    content: Mapping[str, Any]
    inputs: Mapping[str, Any]
    assets: Sequence[str] = ()
    warnings: Sequence[str] = ()
    owner: str = ""
    priority: int = 0
    deadline: float | None = None
    cache: str = "use"
    format: str = "flac"
    webhook: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    request_digest: str = ""
    expected_seconds: float | None = None
    preview_every: int | None = None


@dataclass(frozen=True)
class QueueLimits:
    """How much may be waiting, checked in the transaction that accepts. None: no limit.

    Attributes:
        queued: runs that wait, of everybody.
        owned: runs of one owner that wait or work.
    """

    queued: int | None = 1000
    owned: int | None = None


@dataclass(frozen=True)
class OutputRecord:
    """One file a run gave. Lists and maps give several: `takes.01`, `stems.vocals`.

    Attributes:
        asset: the same file as an asset, to be the input of another run.
        file_name: what a download is called.
        digest: sha256 of the file, its key in `Artifacts`.
        bytes: its size.
        expired: the file is not kept any more.
    """

    name: str
    asset: str
    kind: str
    content_type: str
    file_name: str
    digest: str
    bytes: int
    expired: bool = False


@dataclass(frozen=True)
class RunRecord:
    """One run as it stands (its graph's content aside, which may be large).

    Attributes:
        progress: 0 to 1, never less than before.
        outputs: by name, in the graph's order; empty until it succeeded.
        error: `code`, `message` and, where one is to blame, `node`.
        attempt: how often it was claimed; above 1 it outlived an executor.
        seconds: from its start to its end.
        deadline_at: when it is stopped.
        cancel_requested: whether somebody wants it stopped, and the executor has yet to.
    """

    id: str
    graph: str
    digest: str
    state: RunState
    owner: str
    priority: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    deadline_at: float | None
    progress: float
    attempt: int
    cancel_requested: bool
    inputs: Mapping[str, Any]
    cache: str
    format: str
    warnings: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    outputs: Mapping[str, OutputRecord] = field(default_factory=dict)
    seconds: float | None = None
    webhook: Mapping[str, Any] | None = None
    preview_every: int | None = None


@dataclass(frozen=True)
class NodeRecord:
    """One node of a run.

    Attributes:
        state: `waiting`, `queued` (its inputs exist), `started`, and one of `finished`, `cached`, `skipped`, `failed`
            and `cancelled`. A node that was finished stays so when the run goes on after its executor's death.
        step, steps: where it stands, for stages that tell.
        seconds: what the stage worked; what the cache saved, where known.
    """

    id: str
    stage: str
    state: str = "waiting"
    step: int | None = None
    steps: int | None = None
    seconds: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class PreviewRecord:
    """How a node's song sounded after `step` of `steps`: a WAV file of its first `seconds`."""

    run: str
    node: str
    step: int
    steps: int
    seconds: float
    digest: str
    bytes: int
    created_at: float


@dataclass(frozen=True)
class StoredEvent:
    """One thing that happened to a run.

    Attributes:
        seq: 1, 2, 3 ... within the run, without gaps: what a client resumes after.
        type: of a node, as `graph.events`; of the run (`node` empty), `accepted`, `started`, `continued` (after its
            executor died or was stopped), then one of the run's end states, which is the last event of all.
        body: JSON: `node`, `stage`, `time`, `progress` (of the run), and what belongs to the type.
    """

    seq: int
    type: str
    time: float
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Outlook:
    """When a run may be expected.

    Attributes:
        position: runs that start before it; None unless it is queued.
        seconds: until it ends, by what earlier runs took; None where nothing is known.
    """

    position: int | None
    seconds: float | None


@dataclass(frozen=True)
class Page:
    """Some runs, the newest first; `next` continues the listing, None at its end."""

    runs: tuple[RunRecord, ...]
    next: str | None


@dataclass(frozen=True)
class Lease:
    """The right to work on a run: whoever claims it later has a higher attempt, and this one is worth nothing."""

    run: str
    executor: str
    attempt: int


@dataclass(frozen=True)
class Claimed:
    """A run that an executor works on, with what it needs to plan it."""

    lease: Lease
    record: RunRecord
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Blob:
    """A file in the artifact store: its sha256 (hex), which is its key, and its size."""

    digest: str
    bytes: int


@dataclass(frozen=True)
class NewOutput:
    """A file that a run gave, which stands in the artifact store; `details` as of an asset."""

    name: str
    kind: str
    content_type: str
    file_name: str
    blob: Blob
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AssetRecord:
    """A file that runs can read: uploaded, or an output.

    Attributes:
        kind: of the value in it: audio, latents, report ...
        run: the run that gave it; None for an upload.
        details: what was found in it (`seconds`, `sample_rate`, `channels` of audio).
    """

    id: str
    kind: str
    content_type: str
    file_name: str
    digest: str
    bytes: int
    owner: str
    created_at: float
    run: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
