"""From what a user asks for, a graph, inputs and perhaps a recipe, to a plan."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.checking.scope import Scope
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.library import Library
from acestep_flows.input_reader import InputReader
from acestep_flows.recipes.carry_over import SEED, CarriedOver, carry_over, seed_notes, varies_noise
from acestep_flows.recipes.read import read_recipe_file
from acestep_flows.recipes.sources import FROM_PYTHON, SourceFinder
from acestep_flows.recipes.stored_recipe import StoredRecipe
from acestep_flows.session.inputs import read_inputs
from acestep_flows.session.options import merge_inputs, read_path
from acestep_flows.session.original import Original
from acestep_flows.session.planned_run import GraphSource, PlannedRun, nothing_to_tell, plan_run, read_graph

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecipeStart:
    """A run that begins with a recipe.

    Attributes:
        scope: the graph that was asked for, else the recipe's own.
        again: no graph was asked for: the recipe's own run is meant.
        folders: where to look for files that the recipe names.
        store: stored results, in which they are found by content.
        advice: how to give a file that is not found; `{name}` is its input.
        files, told: after `inputs`: digests of values to the paths of their files, and notes that were told before.
    """

    recipe: StoredRecipe
    scope: Scope
    again: bool
    folders: Sequence[Path] = ()
    store: DiskStore | None = None
    advice: str = FROM_PYTHON
    files: dict[str, str] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def inputs(self, given: Mapping[str, Any]) -> tuple[dict[str, Any], CarriedOver]:
        """The given inputs, and those of the recipe that are not given.

        Raises:
            InputError: a file that the recipe names is missing, has changed, or cannot be read.
        """
        carried = carry_over(self.recipe, self.scope.graph, given.keys(), again=self.again)
        if not self.again:
            carried.notes += seed_notes(self.recipe, self.scope.graph, given)
        reader = InputReader()
        finder = SourceFinder(reader, Path(self.recipe.where).parent, self.folders, self.store, self.advice)
        filled = finder.inputs(carried.inputs)
        self.files.update(reader.files)
        self.told.update(self.recipe.notes, carried.told_lengths())
        return {**filled, **given}, carried

    def plan(
        self,
        inputs: Mapping[str, Any],
        carried: CarriedOver,
        files: Mapping[str, str],
        tell: Callable[[], None] = nothing_to_tell,
    ) -> PlannedRun:
        """The plan of the run. What was not taken over is logged, unless something is wrong: then only that is told.

        Args:
            inputs, carried: from `inputs`.
            files: digests of given values to the paths of their files.
            tell: called once nothing is wrong any more, after what was not taken over.

        Raises:
            InputError: as `plan_run`.
        """

        def tell_first() -> None:
            for line in carried.lines(self.recipe):
                log.warning("%s: %s", self.recipe.where, line)
            tell()

        planned = plan_run(self.scope, inputs, {**files, **self.files}, self.told, tell_first)
        varies = not self.again and varies_noise(self.scope.graph) and SEED in inputs
        return replace(planned, original=Original(self.recipe, self.store) if varies else None)


def start_from(
    file: Path,
    graph: GraphSource | None,
    graph_folders: Sequence[Path | str] = (),
    *,
    sources: Sequence[Path] = (),
    store: DiskStore | None = None,
    advice: str = FROM_PYTHON,
) -> RecipeStart:
    """Begin with the recipe in `file`, with `graph` or the recipe's own.

    Raises:
        InputError: the file cannot be read, or holds no recipe.
        NotFound, GraphError: as `read_graph`.
    """
    recipe = read_recipe_file(file)
    scope = recipe.scope(Library(graph_folders)) if graph is None else read_graph(graph, graph_folders)
    return RecipeStart(recipe, scope, graph is None, sources, store, advice)


def plan_request(
    graph: GraphSource | None,
    inputs: Mapping[str, Any] | None,
    named: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    graph_folders: Sequence[Path],
    results: Path,
) -> PlannedRun:
    """The plan of a run as `Session.run` takes it.

    Args:
        options: those of `Session.run` by name.
        results: the folder of stored results.

    Raises:
        FlowsError: as `Session.run` says of graph, inputs and recipe.
    """
    file = options.get("recipe")
    if graph is None and file is None:
        raise InputError("missing", where="graph", allowed="a graph, or recipe=FILE for the graph of a recipe")
    start = None
    if file is not None:
        store = DiskStore(results)
        start = start_from(read_path(file, "recipe"), graph, graph_folders, store=store)
    scope = start.scope if start is not None else read_graph(graph, graph_folders)  # type: ignore[arg-type]  # not None
    declared = scope.graph.inputs
    is_given = {name: option is not None and option is not False for name, option in options.items()}
    merged = merge_inputs(inputs, named, declared, is_given)
    values, files = read_inputs(merged, {name: declared[name].type for name in declared})
    if start is None:
        return plan_run(scope, values, files)
    values, carried = start.inputs(values)
    return start.plan(values, carried, files)
