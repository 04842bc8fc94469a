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
    warnings = output_warnings(outputs)
    files = {name: encode_output(leaf.content, f"{stem}-{name}", format, tag_recipe) for name, leaf in leaves.items()}
    warnings += [f"output {name}: {file.warning}" for name, file in files.items() if file.warning]
    blobs = artifacts.put_all([file.content for file in files.values()])
    stored = [
        NewOutput(
            name, file.kind, file.content_type, f"{leaves[name].file_stem(stem)}.{file.extension}", blob, file.details
        )
        for (name, file), blob in zip(files.items(), blobs, strict=True)
    ]
    return StoredOutputs(tuple(stored), tuple(warnings))
