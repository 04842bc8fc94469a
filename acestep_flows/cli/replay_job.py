"""From a finished file back to its run: the recipe in its tags or beside it, and the plan it was made by.

A recipe holds the graph's content, nested graphs included, so a run can be repeated when the graph file has changed
or was never here.
"""

from __future__ import annotations

import json
from pathlib import Path

from acestep_flows.errors import InputError
from acestep_flows.graph.planning.layout import lay_out
from acestep_flows.graph.records.graph_content import graph_scope
from acestep_flows.graph.records.recipe import Recipe, inputs_of, read_recipe
from acestep_flows.input_reader import InputReader
from acestep_flows.session import PlannedRun

LARGEST_FILE = 64_000_000


def recipe_of(path: Path) -> Recipe:
    """The recipe in `path`: a recipe's own JSON file, or an audio file's tags.

    Raises:
        InputError: the file cannot be read or holds no recipe.
    """
    if path.suffix.lower() != ".json":
        from acestep_flows.audio import tags

        return read_recipe(tags.read(path).recipe, str(path))
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise InputError("too large for a recipe", where=str(path), allowed=f"up to {LARGEST_FILE} bytes")
        return read_recipe(json.loads(text), str(path))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    except (ValueError, RecursionError):
        raise InputError("not JSON", where=str(path), allowed="a recipe as runs write it") from None


def planned_again(recipe: Recipe, where: str) -> PlannedRun:
    """The plan of the run that a recipe describes; input files are read again.

    Raises:
        InputError: an input file is gone or has changed, or the recipe does not fit together.
        GraphError: the graph does not check any more.
    """
    reader = InputReader()
    scope = graph_scope(recipe.graph.content, where)
    inputs = inputs_of(recipe, lambda kind, path: reader.value(path, kind, where))
    plan = lay_out(scope, inputs)
    if plan.digest != recipe.graph.digest:
        raise InputError("its graph is not the one it was made by", where=where, allowed="a recipe as it was written")
    return PlannedRun(plan, recipe.graph.content, reader.files)
