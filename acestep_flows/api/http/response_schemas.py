"""Bodies of responses, and the parts they share."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from acestep_flows.api.http import examples
from acestep_flows.api.http.schema_base import AudioFormat, Model, with_examples
from acestep_flows.api.store.records import RunState
from acestep_flows.graph.execution.cache import Mode


class Problem(Model):
    """One problem of a graph."""

    rule: str = Field(examples=["unknown-stage"])
    message: str
    file: str = Field("", description="File of the graph. A nested graph has its own.")
    line: int = Field(0, description="Counts from 1; 0 is unknown.")
    column: int = 0
    node: str | None = None


class FieldFault(Model):
    """One of several things that are wrong with a request."""

    field: str = Field("", description="The field that is wrong; empty where it is none.", examples=["duration"])
    message: str = Field(examples=["duration: 900 (allowed: 0.1 to 240 s)"])
    allowed: str = Field("", description="What it may be, in words.", examples=["0.1 to 240 s"])


class Fault(Model):
    """An error."""

    code: str = Field(examples=["invalid_input"])
    message: str = Field(examples=["duration: 900 (allowed: 0.1 to 240 s)"])
    node: str | None = Field(None, description="The node that failed.")
    field: str | None = Field(
        None, description="The field, parameter or header that is wrong, where there is one.", examples=["duration"]
    )
    allowed: str | None = Field(None, description="What it may be, in words.", examples=["0.1 to 240 s"])
    limit: str | None = Field(
        None,
        description="With status 429: the limit of the key that was reached, as /v1/me names it, or `streams`.",
        examples=["runs"],
    )
    problems: list[Problem] | None = Field(None, description="All problems of a graph.")
    faults: list[FieldFault] | None = Field(
        None,
        description="All that is wrong, one by one, where it is several things; `field` is that of the first.",
    )


class RunLink(Model):
    """A link to a run."""

    id: str
    url: str


class Failure(Model):
    """The body of every response that is not a success."""

    model_config = with_examples(examples.FAULT)

    error: Fault
    run: RunLink | None = Field(None, description="The run that continues after the request stopped waiting for it.")


class Output(Model):
    """One output file of a run."""

    url: str = Field(description="URL of the file. Accepts range requests.")
    content_type: str = Field(examples=["audio/flac"])
    bytes: int
    kind: str = Field(examples=["audio"])
    file_name: str
    asset: str = Field(description="Id of the file as an asset, for inputs of other runs.")
    expired: bool = Field(False, description="Whether the file was removed. Its url and asset no longer exist then.")


class OutputList(Model):
    """The outputs of a run."""

    model_config = with_examples(examples.OUTPUTS)

    outputs: dict[str, Output] = Field(description="Outputs by name; empty until the run has succeeded.")


class Preview(Model):
    """A preview of an unfinished song."""

    url: str = Field(description="URL of the WAV file. The next preview replaces it.")
    step: int = Field(description="The step after which it was taken.", examples=[20])
    steps: int = Field(examples=[60])
    seconds: float = Field(description="Length of the preview, from the start of the song.", examples=[30.0])
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
    seconds: float | None = Field(None, description="Seconds of computation; for a cached node, those it saved.")
    error: Fault | None = None
    preview: Preview | None = Field(None, description="Its latest preview, if the run has previews.")


class Links(Model):
    """URLs of a run."""

    self: str
    events: str
    outputs: str


class RunSummary(Model):
    """A run in a list."""

    model_config = with_examples(examples.SUMMARY)

    id: str
    graph: str
    state: RunState
    progress: float = Field(description="0 to 1; it never decreases.")
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    seconds: float | None = Field(None, description="Seconds from start to end.")
    priority: int = 0
    cache: Mode = Field("use", description="How the run uses the cache.")
    format: AudioFormat = Field("flac", description="Format of its audio outputs.")
    preview_every: int | None = Field(None, description="Steps between its previews; null makes none.")
    attempt: int = Field(description="How often an executor claimed the run. Above 1 it outlived an executor.")
    cancel_requested: bool = False
    outputs: dict[str, Output] = Field({})
    error: Fault | None = None
    warnings: list[str] = Field([])
    labels: dict[str, str] = Field({}, description="Short texts by name, such as title, star, session and parent.")
    inputs: dict[str, Any] | None = Field(None, description="Resolved inputs; in lists only with ?inputs=true.")
    links: Links


class Run(RunSummary):
    """A run with its inputs and nodes."""

    model_config = with_examples(examples.WORKING, examples.QUEUED)

    inputs: dict[str, Any] = Field(description="Resolved inputs: defaults filled in, seeds drawn.")
    nodes: list[Node] = Field([])
    queue_position: int | None = Field(None, description="Number of runs that start before it; null unless queued.")
    estimate: float | None = Field(
        None, description="Seconds until it ends, estimated from earlier runs; null once it has ended."
    )


class RunPage(Model):
    """One page of runs, newest first."""

    model_config = with_examples(examples.PAGE)

    runs: list[RunSummary]
    next: str | None = Field(None, description="The value of 'after' for the next page; null on the last page.")


class GraphEntry(Model):
    """A graph in a list."""

    model_config = with_examples(examples.ENTRY)

    name: str
    summary: str
    url: str
    ok: bool = Field(description="Whether it can be run. If not, its URL responds with what is wrong with its file.")


class GraphList(Model):
    """All graphs that can be run by name."""

    model_config = with_examples({"graphs": [examples.ENTRY]})

    graphs: list[GraphEntry]


class GraphDetail(GraphEntry):
    """A graph with its inputs, outputs and nodes."""

    model_config = with_examples(examples.DETAIL)

    inputs: dict[str, Any] = Field(description="JSON Schema of a run's inputs.")
    digest: str = Field(description="sha256 over its content and that of the graphs it nests.")
    outputs: dict[str, str] = Field(description="Type of each output.")
    nodes: dict[str, str] = Field(description="Stage or graph that each node calls.")
    description: str = Field(description="The graph as text, a line for each input, node and output.")
    mermaid: str = Field(description="The graph as a Mermaid flowchart.")
    picture: str = Field(description="URL of a drawing of the graph (PNG).")


class CheckAnswer(Model):
    """The result of checking a graph."""

    model_config = with_examples(examples.PROBLEMS, examples.CHECKED)

    ok: bool
    problems: list[Problem]
    inputs: dict[str, Any] | None = Field(None, description="JSON Schema of its inputs; null if it has problems.")


class PlannedNode(Model):
    """The forecast for one node."""

    id: str
    stage: str
    fate: Literal["cached", "computed", "skipped", "refused"] | None = Field(
        None, description="What would happen to the node. Null if the server makes no forecasts."
    )
    seconds: float | None = None
    bytes: int | None = None
    problem: str | None = None


class PlanAnswer(Model):
    """The forecast for a run."""

    model_config = with_examples(examples.PLAN)

    graph: str
    digest: str
    inputs: dict[str, Any] = Field(description="Resolved inputs: defaults filled in, seeds drawn.")
    nodes: list[PlannedNode]
    seconds: float | None = Field(
        None, description="Seconds for all nodes one after the other; null if one was never timed."
    )
    peak_bytes: int | None = Field(None, description="Peak memory of the process when this graph last ran.")
    warnings: list[str] = Field([])


class MissingAsset(Model):
    """A file that a recipe names and the caller has no asset for."""

    input: str = Field(description="The input that wants it, with its place in a list.", examples=["source"])
    kind: str = Field(examples=["audio"])
    digest: str | None = Field(None, description="Digest of the value in it; null where the recipe has none.")
    file_name: str = Field("", description="How the file was called.", examples=["song.wav"])


class RecipeAnswer(Model):
    """What a song was made from."""

    model_config = with_examples(
        {"graph": "text2music", "inputs": examples.SONG, "seeds": {"noise.seed": 7}, "missing": [], "warnings": []}
    )

    graph: str = Field(description="The name of the graph.")
    inputs: dict[str, Any] = Field(description="Its inputs as a run takes them, without those that are missing.")
    seeds: dict[str, Any] = Field(description="Every seed in use, by node and parameter.")
    missing: list[MissingAsset] = Field(description="Files to upload and to give as inputs.")
    warnings: list[str] = Field(description="What could not be taken over, and what differs.")


class Asset(Model):
    """A file that runs can read."""

    model_config = with_examples(examples.UPLOADED)

    id: str
    kind: str = Field(examples=["audio"])
    content_type: str
    file_name: str
    bytes: int
    sha256: str
    created_at: datetime
    run: str | None = Field(None, description="The run that made it; null for an upload.")
    details: dict[str, Any] = Field({}, examples=[{"seconds": 30.0, "sample_rate": 44100, "channels": 2}])
    url: str = Field(description="URL of its content. Accepts range requests.")


class Welcome(Model):
    """What the server is, and where to begin."""

    model_config = with_examples(examples.WELCOME)

    name: Literal["acestep_flows"] = "acestep_flows"
    version: str
    summary: str
    documentation: str = Field(description="Path of the reference, a page for people.")
    openapi: str = Field(description="Path of the OpenAPI document, for programs.")
    graphs: str = Field(description="Path of the list of graphs.")
    runs: str = Field(description="Path to submit runs to and to list them.")
    assets: str = Field(description="Path to upload audio to.")
    health: str = Field(description="Path that says whether the server takes runs.")
    studio: str | None = Field(None, description="Path of the page where people make songs, if it is served.")
    speaks: dict[str, str] = Field({}, description="Paths of other servers' interfaces that are spoken, by name.")


class Health(Model):
    """A sign of life of the server."""

    model_config = with_examples({"status": "ok", "version": "1.0.0"})

    status: Literal["ok"] = "ok"
    version: str


class Ready(Model):
    """Whether the server takes runs."""

    model_config = with_examples({"ready": True, "reason": ""}, {"ready": False, "reason": "the server is ending"})

    ready: bool
    reason: str = ""


class Stats(Model):
    """Current counts of runs and streams, and statistics of the serving processes."""

    model_config = with_examples(examples.STATS)

    runs: dict[RunState, int]
    queue_limit: int | None
    paused: bool = Field(False, description="Whether the queue is paused: runs are accepted and wait.")
    streams: int = Field(description="Open event streams and requests that wait for a run.")
    serving: dict[str, Any] = Field(description="Statistics of each replica by process, also shown by /metrics.")
