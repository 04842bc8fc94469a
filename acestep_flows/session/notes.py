"""Notes about tags and lyrics: each is told once, when a song is made, and not again at every edit of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.content import leaves
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.recipes.read import read_recipe_file
from acestep_flows.stages.registry import stages
from acestep_flows.storage import user_path
from acestep_flows.values import Report

MOST_KEPT = 200
"""Notes that a recipe keeps."""


def notes_of_weights(plan: Plan, checkpoint: Checkpoint) -> list[str]:
    """What the weights at hand do not know of the parameters of a plan: tags outside of a closed list of words."""
    registry = stages()
    said = (
        note
        for node in plan.nodes.values()
        if node.params is not None and node.stage in registry
        for note in registry[node.stage].notes(checkpoint, node.params)
    )
    return list(dict.fromkeys(said))


def notes_of_texts(outputs: Mapping[str, Any]) -> list[str]:
    """What the reports of sampling stages among the outputs say of tags and lyrics."""
    reports = (leaf.entries for leaf in leaves(outputs) if isinstance(leaf, Report) and "task" in leaf.entries)
    said = (str(note) for entries in reports for note in entries.get("warnings") or ())
    return list(dict.fromkeys(said))


def notes_of_sources(inputs: Mapping[str, Any], files: Iterable[str]) -> frozenset[str]:
    """What was told when the songs among the inputs were made, as their recipes say.

    Args:
        files: paths that inputs were read from.
    """
    recipes = [getattr(leaf, "recipe", None) for leaf in leaves(inputs)]
    notes = {note for recipe in recipes if recipe is not None for note in recipe.notes}
    for path in dict.fromkeys(files):
        try:
            notes.update(read_recipe_file(user_path(path, "source")).notes)
        except InputError:  # no song of ours
            continue
    return frozenset(notes)
