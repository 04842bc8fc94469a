"""What a session tells of tags and lyrics, and what it has told before of the songs that it made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from acestep_flows.graph.content import leaves
from acestep_flows.graph.execution.result import Result as PlanResult
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.session.notes import notes_of_weights
from acestep_flows.session.planned_run import PlannedRun, log_notes
from acestep_flows.session.result import RunResult, result_of
from acestep_flows.values import Latents

MOST_SONGS = 200
"""Songs whose notes are kept."""


@dataclass(frozen=True)
class RunNotes:
    """The notes of one run.

    Attributes:
        of_weights: what the weights do not know of its parameters.
        known: what was told when its source was made.
    """

    of_weights: tuple[str, ...]
    known: frozenset[str]


class ToldNotes:
    """Tells notes at the start of runs, and keeps them with the latents that runs give, which have no recipe."""

    def __init__(self) -> None:
        self._by_digest: dict[str, frozenset[str]] = {}

    def begin(self, planned: PlannedRun, checkpoint: Checkpoint) -> RunNotes:
        """Log what the weights do not know of a plan, except what was told before."""
        inputs = leaves(planned.plan.inputs)
        found = (self._by_digest.get(leaf.digest, frozenset()) for leaf in inputs if isinstance(leaf, Latents))
        of_weights, known = notes_of_weights(planned.plan, checkpoint), planned.known.union(*found)
        log_notes(note for note in of_weights if note not in known)
        return RunNotes(tuple(map(str, of_weights)), known)

    def result(
        self, planned: PlannedRun, executed: PlanResult, outputs: Mapping[str, Any], model: str, notes: RunNotes
    ) -> RunResult:
        """The result of a run, as `result_of` makes it."""
        result = result_of(planned, executed, outputs, model, notes.of_weights, notes.known)
        self._remember(outputs, result.recipe.notes)
        return result

    def _remember(self, outputs: Mapping[str, Any], notes: Iterable[str]) -> None:
        told = frozenset(notes)
        for latents in (leaf for leaf in leaves(outputs) if isinstance(leaf, Latents)) if told else ():
            self._by_digest[latents.digest] = told
        while len(self._by_digest) > MOST_SONGS:
            del self._by_digest[next(iter(self._by_digest))]
