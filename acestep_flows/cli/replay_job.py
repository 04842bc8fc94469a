"""From a finished file back to its run: the recipe in its tags or beside it, and the plan it was made by.

A recipe holds the graph's content, nested graphs included, so a run can be repeated when the graph file has changed
or was never here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from acestep_flows.errors import InputError
from acestep_flows.graph.execution.disk_cache import DiskStore
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.records.graph_content import graph_scope
from acestep_flows.graph.records.recipe import Recipe
from acestep_flows.input_reader import InputReader
from acestep_flows.recipes.read import file_inputs
from acestep_flows.recipes.read import read_own_recipe as recipe_of
from acestep_flows.recipes.sources import SourceFinder
from acestep_flows.session import PlannedRun

__all__ = ["planned_again", "recipe_of"]


def planned_again(
    recipe: Recipe, where: str, sources: Sequence[Path] = (), store: DiskStore | None = None
) -> PlannedRun:
    """The plan of the run that a recipe describes; input files are read again.

    Args:
        where: the file of the recipe.
        sources: more folders in which to look for input files.
        store: stored results, in which they are found by content.

    Raises:
        InputError: an input file is gone or has changed, or the recipe does not fit together.
        GraphError: the graph does not check any more.
    """
    finder = SourceFinder(InputReader(), Path(where).parent, sources, store)
    scope = graph_scope(recipe.graph.content, where)
    plan = lay_out(scope, finder.inputs(file_inputs(recipe, finder.beside)))
    if plan.digest != recipe.graph.digest:
        raise InputError("its graph is not the one it was made by", where=where, allowed="a recipe as it was written")
    return PlannedRun(plan, recipe.graph.content, finder.reader.files)
