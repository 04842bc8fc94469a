"""What is done about one row, wherever it is done: its plan, and at the end measuring, judging and putting in place."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from acestep_flows.audio import read
from acestep_flows.bulk.fingerprint import fingerprint
from acestep_flows.bulk.gates import judge
from acestep_flows.bulk.identity import folder
from acestep_flows.bulk.inputs import opened, stand_ins
from acestep_flows.bulk.job import BulkJob
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.measurements import measured
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.rows import Row
from acestep_flows.bulk.seeds import drawer, retaken, take_input
from acestep_flows.errors import FlowsError, InputError, StageError
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.content import Handle, leaves, sha256, translate
from acestep_flows.graph.execution.result import Result
from acestep_flows.graph.language.types import record_type
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.records.graph_content import graph_scope
from acestep_flows.graph.records.recipe import recipe
from acestep_flows.outputs import audio_tag_recipe, encode_output
from acestep_flows.runtime.bulk.plan_segments import only
from acestep_flows.runtime.bulk.segment_actor import PlanOutcome
from acestep_flows.values import Audio, File, Value, canonical_json, pack
from acestep_flows.weights.choose import Weights

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint

AUDIO = "audio"
"""The folder of audio files."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a row.

    Attributes:
        attempt: of all attempts, from 1.
        retake: of those for other seeds, from 0.
        inputs: resolved, seeds drawn, as plain JSON: files are paths.
        recipe: sha256 over all that the song depends on.
    """

    row: Row
    attempt: int
    retake: int
    inputs: Mapping[str, Any]
    recipe: str


@dataclass(frozen=True)
class RenderedSong:
    """A song, and what is known of how it was made."""

    audio: Audio
    recipe: Mapping[str, Any]
    content: bytes | None = None


@dataclass(frozen=True)
class JobWork:
    """The work of a job; the `Work` of its pipeline.

    Args:
        job: the job.
        place: its folder.
        weights: which weights; None where a server renders.
        extras: folders with adapters and control branches, beside the weights'.
    """

    job: BulkJob
    place: JobFolder
    weights: Weights | None = None
    extras: tuple[str, ...] = ()
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return JobWork, (self.job, self.place, self.weights, self.extras)

    @property
    def scope(self) -> Scope:
        """The job's graph, checked."""
        if "scope" not in self._kept:
            self._kept["scope"] = graph_scope(self.job.content, f"graph {self.job.graph}")
        scope: Scope = self._kept["scope"]
        return scope

    def checkpoint(self) -> Checkpoint:
        from pathlib import Path

        from acestep_flows.model.checkpoint import Checkpoint

        assert self.weights is not None
        chosen = self.weights.open()
        if not self.extras:
            return chosen
        folders = [Path(path).expanduser() for path in self.extras]
        return Checkpoint.open(chosen.root, self.weights.lyric_vocab, cache=self.weights.cache, extras=folders)

    def stages(self) -> Collection[str]:
        return self.job.stages.keys()

    def tried(self, row: Row, attempt: int = 1, retake: int = 0) -> tuple[Attempt, Plan]:
        """An attempt at a row, and its plan with nothing in place of files.

        Raises:
            FlowsError: the row cannot be laid out.
        """
        declared = self.scope.graph.inputs
        inputs = retaken(row.inputs, declared, retake)
        plan = lay_out(self.scope, stand_ins(inputs, declared), drawer(self.job.seed, row.id, retake))
        resolved = {
            name: inputs[name] if name in inputs and any(isinstance(leaf, Value) for leaf in leaves(given)) else given
            for name, given in plan.inputs.items()
        }
        depends = [self.job.digest, dict(self.job.weights), dict(self.job.stages), resolved]
        return Attempt(row, attempt, retake, resolved, sha256(depends)), only(plan, [self.job.audio_output])

    def plan(self, content: Attempt) -> Plan:
        """As `tried`, with files read."""
        declared = self.scope.graph.inputs
        # Only the paths of seeds below are not declared, and they are given as they were drawn.
        draw = drawer(self.job.seed, content.row.id, content.retake)
        plan = lay_out(self.scope, opened(content.inputs, declared), draw)
        return only(replace(plan, inputs=translate(plan.inputs, _named)), [self.job.audio_output])

    def finish(self, content: Attempt, end: PlanOutcome) -> ResultRow:
        """Measure and judge the song, and put it in place; the result tells of whatever goes wrong."""
        row = self.begun(content)
        row = replace(row, stage_seconds=_stage_seconds(end))
        try:
            if end.error is not None or end.plan is None:
                return failed(row, end.error or FlowsError("nothing came of it"))
            return self.keep(row, content, self._made(content, end))
        except FlowsError as error:
            return failed(row, error)
        except Exception as error:  # noqa: BLE001 - one bad row never fails the job
            return failed(row, StageError("", "finish", error))

    def keep(self, row: ResultRow, content: Attempt, made: RenderedSong) -> ResultRow:
        """Measure, judge and put in place.

        Raises:
            StorageError: the file cannot be written.
        """
        audio, job = made.audio, self.job
        known = replace(
            row,
            graph_digest=str(made.recipe.get("graph", {}).get("digest", job.digest)),
            weights_digest=str(made.recipe.get("weights", "")),
            versions=dict(made.recipe.get("versions", {})),
            audio_digest=_digest_of(made.recipe, job.audio_output) or audio.digest,
            duration=audio.seconds,
            sample_rate=audio.sample_rate,
            measurements=measured(audio),
            fingerprint=fingerprint(audio),
        )
        if unmet := judge(job.gates, known.measurements or {}):
            return replace(known, status="rejected", error="; ".join(unmet), code="gate", finished=time.time())
        written = made.content
        if written is None:
            written = encode_output(audio, row.id, job.audio, made.recipe).content
        path = self.path(content.row)
        self.place.write(path, written)
        return replace(known, status="done", audio_path=path, audio_bytes=len(written), finished=time.time())

    def path(self, row: Row) -> str:
        """Where a row's audio goes."""
        return f"{AUDIO}/{folder(row.index, self.job.folder_size)}/{row.stem}.{self.job.audio}"

    def refused(self, row: Row, attempt: int, error: FlowsError) -> ResultRow:
        """A row that cannot even be laid out."""
        return failed(self.begun(Attempt(row, attempt, 0, row.inputs, "")), error)

    def duplicate(self, content: Attempt, of: str) -> ResultRow:
        """A row whose song is there already, under another id."""
        return replace(self.begun(content), status="duplicate", duplicate_of=of, finished=time.time())

    def begun(self, content: Attempt) -> ResultRow:
        """What is known before anything is done."""
        row, name = content.row, take_input(self.scope.graph.inputs)
        seed = content.inputs.get(name) if name is not None else None
        return ResultRow(
            id=row.id,
            index=row.index,
            line=row.line,
            status="failed",
            attempt=content.attempt,
            retake=content.retake,
            inputs_json=_json(content.inputs),
            seed=seed if isinstance(seed, int) else None,
            graph=self.job.graph,
            graph_digest=self.job.digest,
            recipe_digest=content.recipe,
        )

    def _made(self, content: Attempt, end: PlanOutcome) -> RenderedSong:
        """The song of a plan that is done."""
        assert end.plan is not None
        plan, name = end.plan, self.job.audio_output
        given = plan.outputs[name]
        nodes = {node.id: node for node in end.nodes}
        result = Result(plan, {name: given}, nodes, sum(node.seconds for node in end.nodes))
        made = recipe(result, self.job.content, self._files(content, plan), self.job.model)
        recipe_json = audio_tag_recipe(made.as_json())
        if isinstance(given, Audio):
            return RenderedSong(given, recipe_json)
        if isinstance(given, File):
            written = given.content.tobytes()
            return RenderedSong(read.audio(written), recipe_json, written if given.format == self.job.audio else None)
        raise InputError(f"output {name} is {_kind(given)}", where=f"graph {self.job.graph}", allowed="one audio")

    def _files(self, content: Attempt, plan: Plan) -> dict[str, str]:
        """Digest to path of the input values that came from files."""
        inputs = record_type(self.scope.graph.inputs)
        paths = {where: path for path, kind, where in inputs.leaves(content.inputs) if kind.is_file}
        handles = ((where, leaf) for leaf, _, where in inputs.leaves(plan.inputs) if isinstance(leaf, Handle))
        return {handle.digest: paths[where] for where, handle in handles if where in paths}


def failed(row: ResultRow, error: FlowsError) -> ResultRow:
    """The row as it ended with an error."""
    return replace(row, status="failed", error=str(error), code=error.code, finished=time.time())


def _stage_seconds(end: PlanOutcome) -> dict[str, float]:
    """What was found in the cache took no time of this row."""
    seconds: dict[str, float] = {}
    for node in end.nodes:
        if node.cache_key is not None:
            spent = node.seconds if node.source == "computed" else 0.0
            seconds[node.stage] = round(seconds.get(node.stage, 0.0) + spent, 4)
    return seconds


def _digest_of(told: Mapping[str, Any], output: str) -> str | None:
    """The digest of the song's samples before they were written, as the recipe has it."""
    match told.get("outputs", {}).get(output):
        case {"value": ["audio", str(digest)]}:
            return digest
    return None


def _named(leaf: Any) -> Any:
    """Values with arrays by name only: what the plan needs of them is in its nodes."""
    if isinstance(leaf, Value) and pack(leaf)[0]:
        return Handle.of(leaf)
    return leaf


def _json(inputs: Mapping[str, Any]) -> str:
    text = canonical_json(dict(inputs))
    return text.encode("utf-8", "backslashreplace").decode()


def _kind(given: Any) -> str:
    return given.kind if isinstance(given, Value) else f"a {type(given).__name__}" if given is not None else "absent"
