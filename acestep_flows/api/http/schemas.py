"""What travels over HTTP, in both directions: requests refuse unknown fields, answers are complete."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from acestep_flows.api.http import examples
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.runs import HIGHEST_PRIORITY, LONGEST_KEY
from acestep_flows.audio.formats import FORMATS
from acestep_flows.graph.execution.cache import Mode

DEEPEST = 64
MOST_PARTS = 100_000
LONGEST_DEADLINE = 7 * 24 * 3600.0
RUN_ID = r"^run-[0-9a-f]{26}$"
ASSET_ID = r"^[a-z]+-[0-9a-f]{26}$"

AudioFormat = Literal["flac", "wav", "mp3", "ogg"]
assert set(AudioFormat.__args__) == set(FORMATS)  # type: ignore[attr-defined]


def plain(content: Any) -> Any:
    """JSON that everything behind the door can hold: not too deep, and every text can be written.

    Half a surrogate pair and the null character are JSON, but no database takes them.
    """
    pending, parts = [(content, 0)], 0
    while pending:
        part, depth = pending.pop()
        parts += 1
        if depth > DEEPEST or parts > MOST_PARTS:
            raise ValueError(f"JSON nested deeper than {DEEPEST} or of more than {MOST_PARTS} parts")
        if isinstance(part, str):
            if "\0" in part or any("\ud800" <= char <= "\udfff" for char in part):
                raise ValueError("a text with a null character or half a character (a lone surrogate)")
        elif isinstance(part, float):
            if not math.isfinite(part):
                raise ValueError("NaN or infinity, which JSON does not have")
        elif isinstance(part, dict):
            pending += [(key, depth + 1) for key in part] + [(value, depth + 1) for value in part.values()]
        elif isinstance(part, list):
            pending += [(item, depth + 1) for item in part]
    return content


Plain = AfterValidator(plain)
Text = Annotated[str, Plain]
Inputs = Annotated[dict[str, Any], Plain]
GraphContent = Annotated[dict[str, Any], Plain]


class Model(BaseModel):
    """Base of everything here."""

    model_config = ConfigDict(extra="forbid")


def shown(*content: dict[str, Any]) -> ConfigDict:
    """The configuration of a model that the document shows so."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": list(content)})


# Requests


class Webhook(Model):
    """Whom to tell when the run has ended."""

    url: Text = Field(
        max_length=2000, description="http or https, at a public address.", examples=["https://a.example/h"]
    )


class RunOptions(Model):
    """How a run is to go, beside its inputs."""

    priority: int = Field(
        0,
        ge=-HIGHEST_PRIORITY,
        le=HIGHEST_PRIORITY,
        description="Each step counts as a minute that the run has waited already.",
    )
    deadline: float | None = Field(
        None,
        gt=0,
        le=LONGEST_DEADLINE,
        description="Seconds from now after which the run is stopped, queued or running.",
    )
    cache: Mode = Field("use", description="'use' what is known, 'refresh' it, or keep it 'off'.")
    format: AudioFormat = Field("flac", description="Format of audio outputs.")
    preview_every: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Steps between previews of nodes that sample; the song is the same with and without. An event "
        "'preview' says that there is a new one. Nodes found in the cache have none.",
    )
    webhook: Webhook | None = None
    idempotency_key: Text | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_KEY,
        description="The same key with the same request gives the same run; also as the header Idempotency-Key.",
    )


class RunRequest(RunOptions):
    """A run to be made."""

    model_config = shown({"graph": "text2music", "inputs": examples.SONG, "priority": 5, "preview_every": 10})

    graph: Text | GraphContent = Field(
        description="A graph by name; or a graph of your own as JSON, where the server allows it."
    )
    inputs: Inputs = Field({}, description="As the graph's schema says; audio, latents and the like as asset ids.")


class RenderRequest(RunOptions):
    """A song to wait for."""

    model_config = shown({"inputs": examples.SONG, "format": "mp3"})

    inputs: Inputs = Field({}, description="As the graph's schema says.")
    output: Text | None = Field(
        None, max_length=200, description="Which output to answer with; by default the first audio."
    )
    timeout: float = Field(120, gt=0, le=3600, description="Seconds to wait, as far as the server allows.")


class PlanRequest(Model):
    """Inputs to try without running anything."""

    model_config = shown({"inputs": examples.SONG})

    inputs: Inputs = Field({}, description="As the graph's schema says.")


class CheckRequest(Model):
    """A graph of the caller's own."""

    model_config = shown({"graph": examples.INLINE})

    graph: Text | GraphContent = Field(description="The graph as YAML text, whose lines problems name, or as JSON.")


# Answers


class Problem(Model):
    """One thing wrong with a graph."""

    rule: str = Field(examples=["unknown-stage"])
    message: str
    file: str = Field("", description="The graph it is in; nested graphs have their own.")
    line: int = Field(0, description="From 1; 0 is unknown.")
    column: int = 0
    node: str | None = None


class Fault(Model):
    """Why something failed."""

    code: str = Field(examples=["invalid_input"])
    message: str = Field(examples=["duration: 900 (allowed: 0.1 to 240 s)"])
    node: str | None = Field(None, description="The node to blame.")
    problems: list[Problem] | None = Field(None, description="Every problem of a graph.")


class RunLink(Model):
    """Where a run is."""

    id: str
    url: str


class Failure(Model):
    """The body of every answer that is not a success."""

    model_config = shown(examples.FAULT)

    error: Fault
    run: RunLink | None = Field(None, description="The run that goes on, where waiting for it took too long.")


class Output(Model):
    """One file that a run gave."""

    url: str = Field(description="Where to fetch it; takes range requests.")
    content_type: str = Field(examples=["audio/flac"])
    bytes: int
    kind: str = Field(examples=["audio"])
    file_name: str
    asset: str = Field(description="The same as an asset: an input of another run.")
    expired: bool = Field(False, description="Its time is over: neither url nor asset lead anywhere any more.")


class OutputList(Model):
    """What a run gave."""

    model_config = shown(examples.OUTPUTS)

    outputs: dict[str, Output] = Field(description="By name; empty until the run has succeeded.")


class Preview(Model):
    """How a song on its way would sound by now."""

    url: str = Field(description="Where to fetch it, a WAV file; the next preview takes its place.")
    step: int = Field(description="The step it was taken after.", examples=[20])
    steps: int = Field(examples=[60])
    seconds: float = Field(description="Of the song, from its start, that it lets one hear.", examples=[30.0])
    bytes: int


class Node(Model):
    """One node of a run."""

    id: str
    stage: str
    state: str = Field(
        description="waiting, queued, started, progress, cached, finished, skipped, failed or cancelled.",
        examples=["progress"],
    )
    step: int | None = None
    steps: int | None = None
    seconds: float | None = Field(None, description="What the stage worked; what the cache saved, where known.")
    error: Fault | None = None
    preview: Preview | None = Field(None, description="Its latest preview, where the run was asked for some.")


class Links(Model):
    """Where to go on."""

    self: str
    events: str
    outputs: str


class RunSummary(Model):
    """A run as lists show it."""

    model_config = shown(examples.SUMMARY)

    id: str
    graph: str
    state: RunState
    progress: float = Field(description="0 to 1, never less than before.")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    seconds: float | None = Field(None, description="From start to end.")
    priority: int = 0
    cache: Mode = Field("use", description="What the cache might do, as the run was submitted.")
    format: AudioFormat = Field("flac", description="Of its audio outputs.")
    preview_every: int | None = Field(None, description="Steps between its previews; null: it has none.")
    attempt: int = Field(description="How often an executor took it; above 1 it outlived one.")
    cancel_requested: bool = False
    outputs: dict[str, Output] = {}
    error: Fault | None = None
    warnings: list[str] = []
    links: Links


class Run(RunSummary):
    """A run."""

    model_config = shown(examples.WORKING, examples.QUEUED)

    inputs: dict[str, Any] = Field(description="Resolved: defaults filled in, seeds drawn.")
    nodes: list[Node] = []
    queue_position: int | None = Field(None, description="Runs that start before it; null unless it is queued.")
    estimate: float | None = Field(None, description="Seconds until it ends, by what earlier runs took.")


class RunPage(Model):
    """Some runs, the newest first."""

    model_config = shown(examples.PAGE)

    runs: list[RunSummary]
    next: str | None = Field(None, description="Give it as 'after' for the next page; null at the end.")


class GraphEntry(Model):
    """A graph in the list."""

    model_config = shown(examples.ENTRY)

    name: str
    summary: str
    url: str


class GraphList(Model):
    """Every graph that can be run by name."""

    model_config = shown({"graphs": [examples.ENTRY]})

    graphs: list[GraphEntry]


class GraphDetail(GraphEntry):
    """A graph."""

    model_config = shown(examples.DETAIL)

    inputs: dict[str, Any] = Field(description="JSON Schema of a run's inputs.")
    outputs: dict[str, str] = Field(description="Type of each output.")
    nodes: dict[str, str] = Field(description="What each node calls.")
    description: str = Field(description="The graph in words, a line for each input, node and output.")
    mermaid: str = Field(description="The graph as a Mermaid flowchart.")
    picture: str = Field(description="Where its picture (PNG) is.")


class CheckAnswer(Model):
    """What was found in a graph."""

    model_config = shown(examples.PROBLEMS, examples.CHECKED)

    ok: bool
    problems: list[Problem]
    inputs: dict[str, Any] | None = Field(None, description="JSON Schema of its inputs, when it checks.")


class PlannedNode(Model):
    """What would become of one node."""

    id: str
    stage: str
    fate: Literal["cached", "computed", "skipped", "refused"] | None = Field(
        None, description="Null where the server makes no forecasts."
    )
    seconds: float | None = None
    bytes: int | None = None
    problem: str | None = None


class PlanAnswer(Model):
    """What a run would do."""

    model_config = shown(examples.PLAN)

    graph: str
    digest: str
    inputs: dict[str, Any] = Field(description="Resolved: defaults filled in, seeds drawn.")
    nodes: list[PlannedNode]
    seconds: float | None = Field(None, description="Of all nodes one after the other; null when one was never timed.")
    peak_bytes: int | None = Field(None, description="Memory of the process the last time this graph ran.")
    warnings: list[str] = []


class Asset(Model):
    """A file that runs can read."""

    model_config = shown(examples.UPLOADED)

    id: str
    kind: str = Field(examples=["audio"])
    content_type: str
    file_name: str
    bytes: int
    sha256: str
    created_at: datetime
    run: str | None = Field(None, description="The run that gave it; null for an upload.")
    details: dict[str, Any] = Field({}, examples=[{"seconds": 30.0, "sample_rate": 44100, "channels": 2}])
    url: str = Field(description="Where to fetch its content; takes range requests.")


class Health(Model):
    """Whether the server is there."""

    model_config = shown({"status": "ok", "version": "1.0.0"})

    status: Literal["ok"] = "ok"
    version: str


class Ready(Model):
    """Whether the server takes runs."""

    model_config = shown({"ready": True, "reason": ""}, {"ready": False, "reason": "the server is ending"})

    ready: bool
    reason: str = ""


class Stats(Model):
    """Numbers of now."""

    model_config = shown(examples.STATS)

    runs: dict[RunState, int]
    queue_limit: int | None
    streams: int = Field(description="Event streams and waiting renders.")
    serving: dict[str, Any] = Field(description="Stages, engine and edges, as /metrics tells them.")
