"""Store the outputs of a run as artifacts, under the names that the run's record keeps for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.records import NewOutput
from acestep_flows.audio.kept_encodings import KeptEncodings
from acestep_flows.graph.records.recipe import Recipe
from acestep_flows.outputs import (
    OutputFile,
    OutputLeaf,
    audio_tag_recipe,
    encode_output,
    output_leaves,
    output_warnings,
)
from acestep_flows.values import Report

RECIPE = "recipe"
"""The output that every run has: how it was made. A graph's own output of that name takes its place."""


BATCH_BYTES = 32 << 20
"""Encoded files of a run beyond which they are stored before the next one is encoded."""


@dataclass(frozen=True)
class StoredOutputs:
    """The stored files, and warnings for whoever asked for the run."""

    outputs: tuple[NewOutput, ...]
    warnings: tuple[str, ...]


def store_outputs(
    outputs: Mapping[str, Any],
    recipe: Recipe,
    *,
    artifacts: Artifacts,
    format: str,
    stem: str,
    kept: KeptEncodings | None = None,
) -> StoredOutputs:
    """Write a run's outputs to `artifacts`.

    Args:
        outputs: by name: values, JSON, or lists and maps of them, whose parts are named `takes.01`, `stems.vocals`.
        recipe: how they were made.
        format: of audio.
        stem: what file names begin with.
        kept: encodes audio, if the same may come again.

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
    files = (
        (name, encode_output(leaf.content, f"{stem}-{name}", format, tag_recipe, kept)) for name, leaf in leaves.items()
    )
    for batch in _batches(files):
        blobs = artifacts.put_all([file.content for file in batch.values()])
        for (name, file), blob in zip(batch.items(), blobs, strict=True):
            if file.warning:
                warnings.append(f"output {name}: {file.warning}")
            file_name = f"{leaves[name].file_stem(stem)}.{file.extension}"
            stored.append(NewOutput(name, file.kind, file.content_type, file_name, blob, file.details))
    return StoredOutputs(tuple(stored), tuple(warnings))


def _batches(files: Iterable[tuple[str, OutputFile]]) -> Iterator[dict[str, OutputFile]]:
    """Files by name, as many at a time as may be in memory together."""
    batch: dict[str, OutputFile] = {}
    for name, file in files:
        batch[name] = file
        if sum(len(file.content) for file in batch.values()) >= BATCH_BYTES:
            yield batch
            batch = {}
    if batch:
        yield batch
