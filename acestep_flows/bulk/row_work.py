"""The work on one row, in whichever process: its plan, then measuring, judging and storing the song."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from acestep_flows.audio import read
from acestep_flows.bulk.fingerprint import fingerprint
from acestep_flows.bulk.gates import judge
from acestep_flows.bulk.identity import audio_folder
from acestep_flows.bulk.inputs import opened, stand_ins
from acestep_flows.bulk.job import BulkJob, Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.journal import SongJournal
from acestep_flows.bulk.measurements import measure_song
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
from acestep_flows.stages.init_noise import InitNoise
from acestep_flows.values import Audio, File, Value, canonical_json, pack
from acestep_flows.weights.choose import Weights

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint

log = logging.getLogger(__name__)

AUDIO = "audio"
"""The folder of audio files."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a row.

    Attributes:
        attempt: number among all attempts at the row, from 1.
        retake: number of the retake (the same song with another seed), from 0.
        inputs: resolved, seeds drawn, as plain JSON: files are paths.
        recipe: sha256 over all that the song depends on.
        seconds: how long the song was to last; None where only the run knows.
    """

    row: Row
    attempt: int
    retake: int
    inputs: Mapping[str, Any]
    recipe: str
    seconds: float | None = None


@dataclass(frozen=True)
class RenderedSong:
    """A song with the recipe for its tags.

    Attributes:
        audio: the samples.
        recipe: as audio tags hold it.
        content: the encoded file, where there is one already.
    """

    audio: Audio
    recipe: Mapping[str, Any]
    content: bytes | None = None


@dataclass(frozen=True)
class JobWork:
    """The work of a job; the `PipelineWork` of its pipeline. It is pickled into every actor.

    Args:
        job: the job.
        job_folder: where its files are.
        weights: which weights; None where a server renders.
        extras: folders with adapters and control branches, beside the weights'.
        part: the rows that are worked on.
    """

    job: BulkJob
    job_folder: JobFolder
    weights: Weights | None = None
    extras: tuple[str, ...] = ()
    part: Shard = field(default_factory=Shard)
    _cache: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return JobWork, (self.job, self.job_folder, self.weights, self.extras, self.part)

    @property
    def journal(self) -> SongJournal:
        """Where songs that are done are noted."""
        journal: SongJournal = self._cache.setdefault("journal", SongJournal(self.job_folder, self.part))
        return journal

    @property
    def scope(self) -> Scope:
        """The job's graph, checked."""
        if "scope" not in self._cache:
            self._cache["scope"] = graph_scope(self.job.content, f"graph {self.job.graph}")
        scope: Scope = self._cache["scope"]
        return scope

    def checkpoint(self) -> Checkpoint:
        """The weights with the extras, checked, nothing loaded."""
        from pathlib import Path

        from acestep_flows.model.checkpoint import Checkpoint

        assert self.weights is not None
        checkpoint = self.weights.open()
        if not self.extras:
            return checkpoint
        folders = [Path(path).expanduser() for path in self.extras]
        return Checkpoint.open(checkpoint.root, self.weights.lyric_vocab, cache=self.weights.cache, extras=folders)

    def stages(self) -> Collection[str]:
        """Every stage that the graph names."""
        return self.job.stages.keys()

    def plan_attempt(self, row: Row, attempt: int = 1, retake: int = 0) -> tuple[Attempt, Plan]:
        """An attempt at a row, and its plan with empty values in place of files.

        Raises:
            FlowsError: the row cannot be laid out.
        """
        declared = self.scope.graph.inputs
        inputs = retaken(row.inputs, declared, retake)
        plan = lay_out(self.scope, stand_ins(inputs, declared), drawer(self.job.seed, row.id, retake))
        resolved = {
            name: inputs[name] if name in inputs and any(isinstance(leaf, Value) for leaf in leaves(value)) else value
            for name, value in plan.inputs.items()
        }
        depends = [self.job.digest, dict(self.job.weights), dict(self.job.stages), resolved]
        plan = only(plan, [self.job.audio_output])
        return Attempt(row, attempt, retake, resolved, sha256(depends), seconds_asked(plan)), plan

    def plan(self, content: Attempt) -> Plan:
        """The plan of an attempt with its files read. Raises FlowsError."""
        # Only the paths of seeds below are not declared, and they are given as they were drawn.
        draw = drawer(self.job.seed, content.row.id, content.retake)
        plan = lay_out(self.scope, opened(content.inputs, self.scope.graph.inputs), draw)
        told = self._cache.setdefault("told", set())
        for warning in plan.warnings:
            if warning not in told:  # thousands of rows may have the same one
                told.add(warning)
                log.warning("row %s: %s", content.row.id, warning)
        return only(replace(plan, inputs=translate(plan.inputs, _without_arrays)), [self.job.audio_output])

    def finish(self, content: Attempt, end: PlanOutcome) -> ResultRow:
        """Measure, judge and store the song of a plan that ended; errors stand in the result."""
        row = replace(self.new_result(content), stage_seconds=_stage_seconds(end))
        try:
            if end.error is not None or end.plan is None:
                return failed(row, end.error or FlowsError("the plan gave no song and no error"))
            return self.store_song(row, content, self._song(content, end.plan, end))
        except FlowsError as error:
            return failed(row, error)
        except Exception as error:  # noqa: BLE001 - one bad row never fails the job
            return failed(row, StageError("", "finish", error))

    def store_song(self, row: ResultRow, attempt: Attempt, song: RenderedSong) -> ResultRow:
        """Measure a song, hold it against the gates, and write its file.

        Raises:
            StorageError: the file cannot be written.
        """
        audio, recipe_json = song.audio, song.recipe
        row = replace(
            row,
            graph_digest=str(recipe_json.get("graph", {}).get("digest", self.job.digest)),
            weights_digest=str(recipe_json.get("weights", "")),
            versions=dict(recipe_json.get("versions", {})),
            audio_digest=_samples_digest(recipe_json, self.job.audio_output) or audio.digest,
            duration=audio.seconds,
            sample_rate=audio.sample_rate,
            measurements=measure_song(audio),
            fingerprint=fingerprint(audio),
        )
        if unmet := judge(self.job.gates, row.measurements or {}):
            return replace(row, status="rejected", error="; ".join(unmet), code="gate", finished=time.time())
        content = song.content
        if content is None:
            file = encode_output(audio, row.id, self.job.audio, recipe_json)
            content, row = file.content, replace(row, warnings=file.warning)
        path = self.path(attempt.row)
        row = replace(row, status="done", audio_path=path, audio_bytes=len(content), finished=time.time())
        self.journal.note(row)  # first: a process that is killed when its file has just got its name has noted it
        self.job_folder.write(path, content)
        return row

    def path(self, row: Row) -> str:
        """The audio file of a row, relative to the job's folder."""
        return f"{AUDIO}/{audio_folder(row.index, self.job.folder_size)}/{row.stem}.{self.job.audio}"

    def refused(self, row: Row, attempt: int, error: FlowsError) -> ResultRow:
        """The result of a row that cannot be laid out."""
        return failed(self.new_result(Attempt(row, attempt, 0, row.inputs, "")), error)

    def duplicate(self, attempt: Attempt, of: str) -> ResultRow:
        """The result of a row whose song another row has, the one with the id `of`."""
        return replace(self.new_result(attempt), status="duplicate", duplicate_of=of, finished=time.time())

    def new_result(self, attempt: Attempt) -> ResultRow:
        """The result of an attempt with what is known before it is made."""
        row, name = attempt.row, take_input(self.scope.graph.inputs)
        seed = attempt.inputs.get(name) if name is not None else None
        return ResultRow(
            id=row.id,
            index=row.index,
            line=row.line,
            status="failed",
            attempt=attempt.attempt,
            retake=attempt.retake,
            inputs_json=_json(attempt.inputs),
            seed=seed if isinstance(seed, int) else None,
            graph=self.job.graph,
            graph_digest=self.job.digest,
            recipe_digest=attempt.recipe,
            duration_asked=attempt.seconds,
        )

    def _song(self, attempt: Attempt, plan: Plan, end: PlanOutcome) -> RenderedSong:
        """The song of a plan that is done."""
        name = self.job.audio_output
        output = plan.outputs[name]
        nodes = {node.id: node for node in end.nodes}
        result = Result(plan, {name: output}, nodes, sum(node.seconds for node in end.nodes))
        song_recipe = recipe(result, self.job.content, self._files(attempt, plan), self.job.model)
        recipe_json = audio_tag_recipe(song_recipe.as_json())
        if isinstance(output, Audio):
            return RenderedSong(output, recipe_json)
        if isinstance(output, File):
            content = output.content.tobytes()
            return RenderedSong(read.audio(content), recipe_json, content if output.format == self.job.audio else None)
        raise InputError(f"output {name} is {_kind(output)}", where=f"graph {self.job.graph}", allowed="one audio")

    def _files(self, attempt: Attempt, plan: Plan) -> dict[str, str]:
        """Digest to path of the input values that came from files."""
        inputs = record_type(self.scope.graph.inputs)
        paths = {where: path for path, kind, where in inputs.leaves(attempt.inputs) if kind.is_file}
        handles = ((where, leaf) for leaf, _, where in inputs.leaves(plan.inputs) if isinstance(leaf, Handle))
        return {handle.digest: paths[where] for where, handle in handles if where in paths}


def failed(row: ResultRow, error: FlowsError) -> ResultRow:
    """The row as it ended with an error."""
    return replace(row, status="failed", error=str(error), code=error.code, finished=time.time())


def seconds_asked(plan: Plan) -> float | None:
    """How long the song of a plan was to last; None where only the run knows, or the songs in it differ."""
    params = [node.params for node in plan.nodes.values()]
    asked = {each.duration for each in params if isinstance(each, InitNoise.Params) and each.duration}
    return asked.pop() if len(asked) == 1 else None


def _stage_seconds(end: PlanOutcome) -> dict[str, float]:
    """Seconds by stage; results from the cache took no time of this row."""
    seconds: dict[str, float] = {}
    for node in end.nodes:
        if node.cache_key is not None:
            spent = node.seconds if node.source == "computed" else 0.0
            seconds[node.stage] = round(seconds.get(node.stage, 0.0) + spent, 4)
    return seconds


def _samples_digest(recipe_json: Mapping[str, Any], output: str) -> str | None:
    """The digest of the song's samples before they were encoded, as the recipe has it."""
    match recipe_json.get("outputs", {}).get(output):
        case {"value": ["audio", str(digest)]}:
            return digest
    return None


def _without_arrays(leaf: Any) -> Any:
    """A handle in place of a value with arrays: the arrays themselves are in the plan's nodes."""
    if isinstance(leaf, Value) and pack(leaf)[0]:
        return Handle.of(leaf)
    return leaf


def _json(inputs: Mapping[str, Any]) -> str:
    text = canonical_json(dict(inputs))
    return text.encode("utf-8", "backslashreplace").decode()


def _kind(output: Any) -> str:
    """What an output is, in words for an error."""
    if isinstance(output, Value):
        return output.kind
    return "absent" if output is None else f"a {type(output).__name__}"
