"""A run's outputs as files: audio with tags, a picture of it, and the recipe.

A run's files share a name of their own, so runs never overwrite each other, and each file appears whole or not at all.
The recipe is written last: where it stands, the rest stands too.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.value_file import write_value
from acestep_flows.values import Audio, File, Report, Value

if TYPE_CHECKING:
    from acestep_flows.graph.planning.plan import Plan
    from acestep_flows.graph.records.recipe import Recipe

log = logging.getLogger(__name__)

LONGEST_STEM = 120
"""Bytes; output names and extensions come behind it, and file systems end at 255."""

MOST_NODES_IN_TAGS = 1000
"""Larger recipes are told node by node only in the JSON file: every audio file would carry megabytes."""


def unique_stem(graph: str, now: float | None = None) -> str:
    """The name that a run's files share: graph, time, and enough chance to tell runs of one second apart."""
    return f"{graph}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{secrets.token_hex(3)}"


def check_stem(stem: str) -> str:
    """Give back a name that files can have, unchanged.

    Raises:
        InputError: an empty or very long name, or one that would lead out of the folder.
    """
    if (
        not 0 < len(stem.encode("utf-8", "surrogatepass")) <= LONGEST_STEM
        or stem.startswith(".")
        or set(stem) & set("/\\\0")
    ):
        raise InputError(
            f"{stem[:40]!r}", where="--name", allowed="a file name without extension, folder or leading dot"
        )
    return stem


def check_kept(plan: Plan, keep: Sequence[str]) -> None:
    """Refuse names in `keep` that are no outputs of the plan.

    Raises:
        InputError: such a name.
    """
    for name in keep:
        if name not in plan.outputs:
            raise InputError(f"no output {name!r}", where="--keep", allowed=", ".join(plan.outputs))


def write_outputs(
    folder: Path,
    stem: str,
    outputs: Mapping[str, Any],
    recipe: Recipe,
    *,
    format: str = "wav",
    keep: Sequence[str] = (),
) -> list[Path]:
    """Write a run's outputs to `folder`; every audio in them becomes a file with tags, and a picture.

    Args:
        stem: the name that the files share.
        outputs: by name; values, lists of values, or JSON.
        recipe: how they were made.
        format: of audio files.
        keep: outputs to write as files that are not otherwise (latents, mel).

    Returns:
        The files, audio first, the recipe last.

    Raises:
        StorageError: something cannot be written.
    """
    told = recipe.as_json()
    tagged = told if len(recipe.nodes) <= MOST_NODES_IN_TAGS else told | {"nodes": []}
    paths: list[Path] = []
    reports: dict[str, Any] = {}
    for name, content in outputs.items():
        for label, leaf in _labelled("" if name == "audio" else name, content):
            base = folder / "-".join(filter(None, [stem, label]))
            if isinstance(leaf, Audio):
                paths += _write_audio(base, leaf, tagged, format)
            elif isinstance(leaf, File):
                paths.append(storage.write(_named(base, leaf.format), leaf.content.tobytes()))
            elif isinstance(leaf, Report):
                reports[label] = leaf.entries
            elif not isinstance(leaf, Value):
                reports[label] = leaf
            elif name in keep:
                paths.append(write_value(_named(base, "safetensors"), leaf))
    told |= {"written": [path.name for path in paths], "reports": reports}
    text = json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    return [*paths, storage.write(_named(folder / stem, "json"), text.encode("utf-8", "backslashreplace"))]


def _write_audio(base: Path, audio: Audio, recipe: Mapping[str, Any], format: str) -> list[Path]:
    from acestep_flows.audio import picture, tags, write

    written = write.audio(_named(base, format), audio, format=format, tags=tags.Tags(recipe, title=base.name))
    if written.clipped:
        log.warning("%s: %d samples were beyond full scale and are clipped", written.path.name, written.clipped)
    return [written.path, picture.picture(_named(base, "png"), audio, base.name)]


def _named(base: Path, extension: str) -> Path:
    return base.with_name(f"{base.name}.{extension}")


def _labelled(label: str, content: Any) -> Iterator[tuple[str, Any]]:
    """Every leaf of an output with a label of its own: `takes-03`, `report`."""
    if isinstance(content, (list, tuple)):
        width = max(2, len(str(len(content))))
        for number, part in enumerate(content, 1):
            yield from _labelled("-".join(filter(None, [label, f"{number:0{width}}"])), part)
    elif isinstance(content, Mapping):
        for key, part in content.items():
            yield from _labelled("-".join(filter(None, [label, str(key)])), part)
    elif content is not None:
        yield label, content
