"""Store the outputs of a run as artifacts, under the names that the run's record keeps for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.records import Blob, NewOutput
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
    leaves = leaves_with_recipe(outputs, recipe_json)
    files = (
        (name, encode_output(leaf.content, f"{stem}-{name}", format, tag_recipe, kept)) for name, leaf in leaves.items()
    )
    stored: list[tuple[OutputFile, Blob]] = []
    for batch in _batches(files):
        blobs = artifacts.put_all([file.content for file in batch.values()])
        stored += [(replace(file, content=b""), blob) for file, blob in zip(batch.values(), blobs, strict=True)]
    return stored_outputs(leaves, stored, output_warnings(outputs), stem)


def leaves_with_recipe(outputs: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, OutputLeaf]:
    """What is stored of a run, by name: the leaves of its outputs, and its recipe (JSON)."""
    leaves = {leaf.name: leaf for leaf in output_leaves(outputs)}
    leaves.setdefault(RECIPE, OutputLeaf((RECIPE,), Report(recipe)))
    return leaves


def stored_outputs(
    leaves: Mapping[str, OutputLeaf], files: Iterable[tuple[OutputFile, Blob]], warnings: Iterable[str], stem: str
) -> StoredOutputs:
    """The record of stored files.

    Args:
        leaves: as `leaves_with_recipe` gives them.
        files: of the leaves in order, without their contents.
        warnings: of the outputs themselves; those of files follow.
        stem: what file names begin with.
    """
    outputs: list[NewOutput] = []
    told = list(warnings)
    for leaf, (file, blob) in zip(leaves.values(), files, strict=True):
        if file.warning:
            told.append(f"output {leaf.name}: {file.warning}")
        file_name = f"{leaf.file_stem(stem)}.{file.extension}"
        outputs.append(NewOutput(leaf.name, file.kind, file.content_type, file_name, blob, file.details))
    return StoredOutputs(tuple(outputs), tuple(told))


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
