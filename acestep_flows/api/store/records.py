"""What the store holds, as frozen records. Times are seconds since the epoch.

A run is `queued` once it is on disk, and `running` while an executor holds its lease. It ends once: `succeeded`,
`failed` or `cancelled`. If its executor dies, the run stays `running` until another executor claims it and continues
from the finished nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class RunState(StrEnum):
    """State of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self in ENDED


ENDED = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
UNFINISHED = (RunState.QUEUED.value, RunState.RUNNING.value)


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """A run to accept, with everything that it depends on. Later changes of graph files cannot change it.

    Attributes:
        graph: name of the graph.
        digest: digest of the graph's content (`Plan.digest`).
        content: the graph and its nested graphs, as `graph_content` returns them.
        inputs: resolved inputs: defaults filled in, seeds drawn, `{"asset": id}` in place of a value.
        assets: ids of the assets in the inputs. They are kept as long as the run is unfinished.
        warnings: warnings of the plan.
        owner: name of the API key that owns the run; empty without keys.
        priority: runs with a higher priority start first.
        deadline: seconds after acceptance at which the run is stopped, queued or running.
        cache: what the cache may do: `use`, `refresh` or `off`.
        format: format of audio outputs.
        webhook: `{"url": ...}`, called when the run ends.
        idempotency_key: requests with the same key and owner are accepted once.
        request_digest: sha256 of the request, compared when the key is used again.
        expected_seconds: expected duration, where known.
        preview_every: steps between previews of nodes that sample; None makes none.
        labels: short texts by name. `parent` is filled in where an input is an output of another run.
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
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class QueueLimits:
    """Limits that are checked in the transaction that accepts a run. None is no limit.

    Attributes:
        queued: queued runs of all owners.
        owned: queued and running runs of one owner.
    """

    queued: int | None = 1000
    owned: int | None = None


@dataclass(frozen=True)
class OutputRecord:
    """One output file of a run. A list or map has one file for each part: `takes.01`, `stems.vocals`.

    Attributes:
        asset: id of the same file as an asset, for inputs of other runs.
        file_name: file name of a download.
        digest: sha256 of the file: its key in `Artifacts`.
        bytes: size of the file.
        expired: whether retention removed the file.
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
    """One run, without the content of its graph, which may be large.

    Attributes:
        progress: 0 to 1; it never decreases.
        outputs: by name, in the graph's order; empty until the run succeeded.
        error: `code`, `message` and, where they are known, `node`, `field` and `allowed`.
        attempt: how often the run was claimed. Above 1 it outlived an executor.
        seconds: from start to end.
        deadline_at: when the run is stopped.
        cancel_requested: whether a cancellation was requested that the executor has not carried out yet.
        labels: short texts by name, sorted by name.
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
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def late(self) -> str:
        """What is said where its deadline passes while it runs: the time in the queue counts, too."""
        if self.deadline_at is None:
            return ""
        asked = round(self.deadline_at - self.created_at, 3)
        return f"the run was stopped {asked:g} s after it was submitted, its deadline"


@dataclass(frozen=True)
class NodeRecord:
    """One node of a run.

    Attributes:
        state: `waiting`, `queued` (its inputs exist), `started`, then one of `finished`, `cached`, `skipped`, `failed`
            and `cancelled`. A finished node stays finished when another executor continues the run.
        step: latest step, for stages that report steps.
        steps: number of steps, likewise.
        seconds: how long the stage computed; for a cached node, the seconds that the cache saved, where known.
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
    """A preview of a node after `step` of `steps`: a WAV file with the first `seconds` of the song."""

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
        seq: 1, 2, 3 ... within the run, without gaps. A client resumes after it.
        type: for a node, a type of `graph.execution.events`. For the run (`node` is empty): `accepted`, `started`,
            `continued` (after its executor died or was stopped), and last of all an end state of the run.
        body: JSON: `node`, `stage`, `time`, `progress` (of the run), and the fields of the type.
    """

    seq: int
    type: str
    time: float
    body: Mapping[str, Any]


@dataclass(frozen=True)
class NumberedEvent:
    """An event of any run. `number` counts the events of all runs, upwards and with gaps for one owner."""

    number: int
    run: str
    event: StoredEvent


@dataclass(frozen=True)
class QueueEstimate:
    """When a run will end.

    Attributes:
        position: number of runs that start before it; None unless it is queued.
        seconds: until it ends, from the durations of earlier runs; None where nothing is known, and once it has ended.
    """

    position: int | None
    seconds: float | None


@dataclass(frozen=True)
class Page:
    """One page of runs, newest first. `next` is the `after` of the following page; None on the last one."""

    runs: tuple[RunRecord, ...]
    next: str | None


@dataclass(frozen=True)
class Lease:
    """The right to work on a run. A later claim has a higher `attempt` and makes this lease invalid."""

    run: str
    executor: str
    attempt: int


@dataclass(frozen=True)
class ClaimedRun:
    """A run that an executor claimed, with the graph's content for planning it."""

    lease: Lease
    record: RunRecord
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Blob:
    """A file in the artifact store: its sha256 in hex, which is its key, and its size in bytes."""

    digest: str
    bytes: int


@dataclass(frozen=True)
class NewOutput:
    """An output file that is already in the artifact store; `details` as in `AssetRecord`."""

    name: str
    kind: str
    content_type: str
    file_name: str
    blob: Blob
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AssetRecord:
    """A file that runs can read: an upload or an output.

    Attributes:
        kind: kind of the value in the file: audio, latents, report ...
        run: the run that made it; None for an upload.
        details: properties of the content, such as `seconds`, `sample_rate` and `channels` of audio.
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


@dataclass(frozen=True)
class AssetPage:
    """One page of uploads, newest first. `next` is the `after` of the following page; None on the last one."""

    assets: tuple[AssetRecord, ...]
    next: str | None


@dataclass(frozen=True)
class UsageRecord:
    """What an owner's ended runs used.

    Attributes:
        runs: runs that ended, in whatever state.
        music_seconds: length of their audio outputs.
        compute_seconds: how long their stages computed; results from the cache cost nothing.
    """

    owner: str
    runs: int
    music_seconds: float
    compute_seconds: float
