"""From a graph in any form, and its inputs, to a plan that a session can run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from acestep_flows.errors import InputError
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.language.wording import show
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.planning.seeds import random_seed
from acestep_flows.graph.records.graph_content import graph_content
from acestep_flows.session.notes import notes_of_sources
from acestep_flows.session.original import Original
from acestep_flows.stages.caution import Caution
from acestep_flows.stages.registry import stages

log = logging.getLogger(__name__)

GRAPH_FORMS = "the name of a graph, the path of a graph file, YAML text, a map, or a graph from Session.read"


@dataclass(frozen=True)
class PlannedRun:
    """A plan, and what the recipe of its run tells beside it.

    Attributes:
        content: the graph's content with that of nested graphs, as `graph_content` gives it.
        files: digest of an input value to the path it was read from.
        drawn: the seeds that nobody gave, by input; of nested graphs by path (`takes[2].seed`).
        known: notes about tags and lyrics that were told when the source was made, or as they were read.
        original: the song that the run varies, where it is none of its inputs.
    """

    plan: Plan
    content: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)
    drawn: Mapping[str, int] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    original: Original | None = None


def nothing_to_tell() -> None:
    """Tell nothing."""


GraphSource: TypeAlias = str | Path | Mapping[str, Any] | Scope
"""A graph in any of its forms: see `GRAPH_FORMS`."""


def is_graph_text(text: str) -> bool:
    """Whether `text` is a graph as YAML, not the name or path of one: it has a line break, or a brace at its start."""
    return "\n" in text or text.lstrip().startswith("{")


def read_graph(source: GraphSource, folders: Sequence[Path | str] = ()) -> Scope:
    """Read and check a graph.

    Args:
        source: a graph in any of its forms.
        folders: where to look for names, before the working folder's `graphs/` and the shipped graphs.

    Raises:
        NotFound: there is no such graph, or no such folder.
        InputError: the source is no graph, or its file cannot be read.
        GraphError: the graph has problems; all of them are listed.
    """
    if isinstance(source, Scope):
        return source
    library = Library(folders)
    return checked(_parsed(source, library), stages(), library.nested)


def plan_run(
    scope: Scope,
    inputs: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
    known: Iterable[str] = (),
    tell: Callable[[], None] = nothing_to_tell,
) -> PlannedRun:
    """Lay out a checked graph for `inputs`, as `lay_out` takes them.

    Warnings of the plan are in `RunResult.warnings`; the log has them as information, which the command line shows.

    Args:
        files: digest of an input value to the path it was read from.
        known: notes that were told when the song of the inputs was made, or as they were read; none is told again.
        tell: called before the notes are logged, once nothing is wrong any more.

    Raises:
        InputError: an input is unknown, missing, of the wrong type or out of range.
    """
    drawn: dict[str, int] = {}

    def draw(where: str) -> int:
        drawn[where] = random_seed(where)
        return drawn[where]

    plan = lay_out(scope, inputs, draw)
    told = notes_of_sources(plan.inputs, (files or {}).values()) | frozenset(known)
    plan = replace(plan, warnings=tuple(note for note in plan.warnings if note not in told))
    tell()
    log_notes(plan.warnings)
    unknown = {where: seed for where, seed in drawn.items() if "." not in where or where not in inputs}
    return PlannedRun(plan, graph_content(scope), files or {}, unknown, told)


def log_notes(notes: Iterable[str]) -> None:
    """Log what is in `RunResult.warnings` and known before a run, as information, which the command line shows.

    A `Caution` is logged as a warning.
    """
    for note in notes:
        log.log(logging.WARNING if isinstance(note, Caution) else logging.INFO, note)


def _parsed(source: str | Path | Mapping[str, Any], library: Library) -> Graph:
    if isinstance(source, Mapping):
        return library.parse_plain(json.loads(_json(source)))
    if isinstance(source, Path):
        return library.load(source)
    if not isinstance(source, str):
        raise InputError(show(source), where="graph", allowed=GRAPH_FORMS)
    if is_graph_text(source):
        return library.parse(source)
    return library.load(source)


def _json(content: Mapping[str, Any]) -> str:
    try:
        return json.dumps(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", where="graph", allowed="a map of JSON data") from None
