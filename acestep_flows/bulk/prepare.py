"""Make a job from a graph and options, with digests of the graph, the weights and the stages' versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from acestep_flows.bulk.check import Checked
from acestep_flows.bulk.job import BulkJob
from acestep_flows.bulk.rows import JobRows
from acestep_flows.bulk.seeds import take_input
from acestep_flows.errors import InputError
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.planning.layout import digest
from acestep_flows.graph.records.graph_content import graph_content
from acestep_flows.stages.contract import Stage

if TYPE_CHECKING:
    from acestep_flows.model.checkpoint import Checkpoint


def job_of(
    rows: JobRows, checked: Checked, checkpoint: Checkpoint | None, *, output: str | None = None, **options: Any
) -> BulkJob:
    """The job of checked rows.

    Args:
        checkpoint: the weights, which are digested the first time (seconds); None where a server renders.
        output: the graph's output that is the song, where it has several.
        options: further fields of `BulkJob`.

    Raises:
        InputError: as `check_request`.
    """
    scope = rows.scope
    check_request(scope, output, bool(options.get("gates")), options.get("retakes", 0))
    return BulkJob(
        source=checked.source,
        graph=scope.graph.name,
        digest=digest(scope),
        content=graph_content(scope),
        weights=weights_digests(checkpoint, scope) if checkpoint is not None else {},
        stages={name: stage.version for name, stage in sorted(stages_in(scope).items())},
        constants=rows.constants,
        sweeps=rows.sweeps,
        audio_output=song_output(scope, output),
        **options,
    )


def check_request(scope: Scope, output: str | None, gated: bool, retakes: int) -> None:
    """Check what is asked of a graph, which needs neither rows nor weights.

    Args:
        output: the graph's output that is to be the song; None: the only one.
        gated: whether songs must meet conditions.
        retakes: how often a song that misses them is made again.

    Raises:
        InputError: the graph gives no such song, or retakes are asked for and no condition or no seed is there.
    """
    if retakes and not gated:
        raise InputError("no gate can ask for another take", where="--retake", allowed="together with --require")
    if retakes and take_input(scope.graph.inputs) is None:
        raise InputError(f"graph {scope.graph.name} has no seed", where="--retake", allowed="a graph with a seed input")
    song_output(scope, output)


def stages_in(scope: Scope) -> dict[str, type[Stage]]:
    """Every stage that the graph names, nested graphs included."""
    calls = [call for inner in scope.below() for call in inner.graph.nodes.values()]
    return {call.target: scope.registry[call.target] for call in calls if call.kind == "stage"}


def weights_digests(checkpoint: Checkpoint, scope: Scope) -> dict[str, str]:
    """Digest of every part of the checkpoint that the graph's stages read."""
    parts = {part for stage in stages_in(scope).values() for part in stage.parts}
    return {part: checkpoint.digest(part) for part in sorted(parts)}


def song_output(scope: Scope, wanted: str | None = None) -> str:
    """The output of the graph that is the song of a row: the one asked for, else `audio`, else the only audio.

    Raises:
        InputError: there is none, or more than one.
    """
    graph = scope.graph
    kinds = {name: scope.type_of(argument) for name, argument in graph.outputs.entries.items()}
    songs = [name for name, kind in kinds.items() if kind is not None and kind.kind == "audio"]
    if wanted is not None and wanted not in songs:
        what = f"{wanted!r} is no single audio of graph {graph.name}"
        raise InputError(what, where="--output", allowed=songs)
    if wanted is None and "audio" not in songs and len(songs) != 1:
        what = f"graph {graph.name} gives {len(songs) or 'no'} single audio outputs"
        raise InputError(what, where="--output", allowed=songs or "a graph with an output of type audio")
    return wanted or ("audio" if "audio" in songs else songs[0])
