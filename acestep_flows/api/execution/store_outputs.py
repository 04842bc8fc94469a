"""Outputs become files in the artifact store: audio with its recipe inside, latents as they are, the rest JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.records import NewOutput
from acestep_flows.graph.records.recipe import Recipe
from acestep_flows.outputs import MOST_NODES_IN_TAGS
from acestep_flows.value_file import encode_value
from acestep_flows.values import Audio, File, Report, Value

CONTENT_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
VALUE_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"
RECIPE = "recipe"
"""The output that every run has: how it was made. A graph's own output of that name takes its place."""

UNSAFE = re.compile(r"[^\w.-]")
"""What no file name has that comes from here: parts of an output may be called as an input says."""


@dataclass(frozen=True)
class Kept:
    """Files in the store, and what is to be said about them."""

    outputs: tuple[NewOutput, ...]
    warnings: tuple[str, ...]


def keep(outputs: Mapping[str, Any], recipe: Recipe, *, artifacts: Artifacts, format: str, stem: str) -> Kept:
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
    told = recipe.as_json()
    tagged = told if len(recipe.nodes) <= MOST_NODES_IN_TAGS else told | {"nodes": []}
    named = {name: leaf for output, content in outputs.items() for name, leaf in _parts(output, content)}
    named.setdefault(RECIPE, Report(told))
    kept: list[NewOutput] = []
    warnings: list[str] = []
    for name, leaf in named.items():
        file = _encoded(leaf, f"{stem}-{name}", format, tagged)
        if file.clipped:
            warnings.append(f"output {name}: {file.clipped} samples were beyond full scale and are clipped")
        file_name = f"{stem}-{UNSAFE.sub('_', name)}.{file.extension}"
        blob = artifacts.put(file.content)
        kept.append(NewOutput(name, file.kind, file.content_type, file_name, blob, file.details))
    return Kept(tuple(kept), tuple(warnings))


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    content_type: str
    extension: str
    details: Mapping[str, Any]
    clipped: int = 0


def _encoded(leaf: Any, title: str, format: str, recipe: Mapping[str, Any]) -> _File:
    if isinstance(leaf, Audio):
        from acestep_flows.audio import write
        from acestep_flows.audio.formats import FORMATS
        from acestep_flows.audio.tags import Tags

        content, clipped = write.encode(leaf, FORMATS[format], subtype=None, tags=Tags(recipe, title=title))
        return _File(content, "audio", CONTENT_TYPES[format], format, {"seconds": round(leaf.seconds, 3)}, clipped)
    if isinstance(leaf, File):
        content_type = CONTENT_TYPES.get(leaf.format, VALUE_TYPE)
        kind = "audio" if leaf.format in CONTENT_TYPES else "file"
        return _File(leaf.content.tobytes(), kind, content_type, leaf.format, {})
    if isinstance(leaf, Report) or not isinstance(leaf, Value):
        kind, told = ("report", leaf.entries) if isinstance(leaf, Report) else ("json", leaf)
        text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
        return _File(text.encode("utf-8", "backslashreplace"), kind, JSON_TYPE, "json", {})
    seconds = getattr(leaf, "seconds", None)
    details = {} if seconds is None else {"seconds": round(float(seconds), 3)}
    return _File(encode_value(leaf), leaf.kind, VALUE_TYPE, "safetensors", details)


def _parts(name: str, content: Any) -> Iterator[tuple[str, Any]]:
    """Every leaf of an output with a name of its own. Names in graphs have no dots, so that none is taken."""
    if isinstance(content, (list, tuple)):
        width = max(2, len(str(len(content))))
        for number, part in enumerate(content, 1):
            yield from _parts(f"{name}.{number:0{width}}", part)
    elif isinstance(content, Mapping):
        for key, part in content.items():
            yield from _parts(f"{name}.{key}", part)
    elif content is not None:
        yield name, content
