"""Store the outputs of a run as artifacts, under the names that the run's record keeps for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.records import NewOutput
from acestep_flows.graph.records.recipe import Recipe
from acestep_flows.outputs import OutputLeaf, audio_tag_recipe, encode_output, output_leaves, output_warnings
from acestep_flows.values import Report

RECIPE = "recipe"
"""The output that every run has: how it was made. A graph's own output of that name takes its place."""


@dataclass(frozen=True)
class StoredOutputs:
    """The stored files, and warnings for whoever asked for the run."""

    outputs: tuple[NewOutput, ...]
    warnings: tuple[str, ...]


def store_outputs(
    outputs: Mapping[str, Any], recipe: Recipe, *, artifacts: Artifacts, format: str, stem: str
) -> StoredOutputs:
    """Write a run's outputs to `artifacts`.

    Args:
        outputs: by name: values, JSON, or lists and maps of them, whose parts are named `takes.01`, `stems.vocals`.
        recipe: how they were made.
        format: of audio.
        stem: what file names begin with.

    Raises:
        StorageError: they cannot be written.
        InputError: audio that the format cannot hold.
    """
    recipe_json = recipe.as_json()
    tag_recipe = audio_tag_recipe(recipe_json)
    leaves = {leaf.name: leaf for leaf in output_leaves(outputs)}
    leaves.setdefault(RECIPE, OutputLeaf((RECIPE,), Report(recipe_json)))
    stored: list[NewOutput] = []
    warnings = output_warnings(outputs)
    for name, leaf in leaves.items():
        file = encode_output(leaf.content, f"{stem}-{name}", format, tag_recipe)
        if file.warning:
            warnings.append(f"output {name}: {file.warning}")
        file_name = f"{leaf.file_stem(stem)}.{file.extension}"
        blob = artifacts.put(file.content)
        stored.append(NewOutput(name, file.kind, file.content_type, file_name, blob, file.details))
    return StoredOutputs(tuple(stored), tuple(warnings))
