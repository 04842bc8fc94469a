"""The outputs of a run as files, for every door: the labels of their parts, the bytes, the names.

The command line writes a folder: audio with tags, a picture of it, and the recipe. The files of a run share a stem, so
runs never overwrite each other. Each file appears whole or not at all, and the recipe is written last: if it exists,
all other files exist. The server stores the same files as artifacts, and a bulk job stores one song for each row.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows import storage
from acestep_flows.errors import InputError
from acestep_flows.value_file import encode_value
from acestep_flows.values import Audio, File, Report, Value

if TYPE_CHECKING:
    from acestep_flows.audio.kept_encodings import KeptEncodings
    from acestep_flows.graph.planning.plan import Plan
    from acestep_flows.graph.records.recipe import Recipe

log = logging.getLogger(__name__)

LONGEST_STEM = LONGEST_LABEL = 120
"""Bytes of each; an extension follows them, and file systems end at 255."""

MOST_NODES_IN_TAGS = 1000
"""Recipes with more nodes list them only in the JSON file: every audio file would carry megabytes."""

ALMOST_SILENT = -60.0
"""dBFS (rms over the whole): audio below this is told as a warning."""

MAIN = "audio"
"""The output whose file has the stem alone as its name: `song.wav`, beside `song-takes-01.wav`."""

CONTENT_TYPES = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
VALUE_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"

_UNSAFE = re.compile(r"[^\w.-]")
"""Replaced in file names: the parts of an output may be named by an input."""


@dataclass(frozen=True)
class OutputLeaf:
    """One value or piece of JSON in the outputs of a run.

    Attributes:
        path: the output's name, then numbers of list items and names of fields: `("takes", "01")`.
        content: the leaf itself; never None.
    """

    path: tuple[str, ...]
    content: Any

    @property
    def name(self) -> str:
        """As runs are stored: `takes.01`. Names in graphs have no dots, so no two leaves share one."""
        return ".".join(self.path)

    @property
    def label(self) -> str:
        """As files and reports are labelled: `takes-01`; empty for the output `audio`."""
        return "-".join(self.path[1:] if self.path[0] == MAIN else self.path)

    def file_stem(self, stem: str) -> str:
        """The leaf's file name without extension, from the stem that the run's files share: `song-takes-01`.

        A label that is too long for a file name is cut, with the digest of the whole behind it.
        """
        label = _UNSAFE.sub("_", self.label)
        if len(label.encode()) > LONGEST_LABEL:
            digest = hashlib.sha256(label.encode()).hexdigest()[:12]
            label = f"{label.encode()[: LONGEST_LABEL - 13].decode(errors='ignore')}-{digest}"
        return "-".join(filter(None, [stem, label]))


@dataclass(frozen=True)
class OutputFile:
    """A leaf as the content of a file.

    Attributes:
        content: the bytes.
        kind: audio, latents, report, json, file or another value kind.
        content_type: for HTTP.
        extension: without the dot.
        details: what is known of it: `seconds` where it has a length.
        warnings: what whoever gets the file must know.
    """

    content: bytes
    kind: str
    content_type: str
    extension: str
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    @property
    def warning(self) -> str | None:
        """All warnings as one; None: there are none."""
        return "; ".join(self.warnings) or None


def unique_stem(graph: str, now: float | None = None) -> str:
    """A name for the files of a run: graph, time, and a random end that tells runs of one second apart."""
    return f"{graph}-{time.strftime('%Y%m%d-%H%M%S', time.localtime(now))}-{secrets.token_hex(3)}"


def check_stem(stem: str) -> str:
    """Return `stem` unchanged if files can have it as their name.

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


def output_leaves(outputs: Mapping[str, Any]) -> Iterator[OutputLeaf]:
    """Every leaf of a run's outputs. Items of a list are numbered from 01; what is None has no leaf."""
    for name, content in outputs.items():
        yield from _leaves((name,), content)


def _leaves(path: tuple[str, ...], content: Any) -> Iterator[OutputLeaf]:
    if isinstance(content, (list, tuple)):
        width = max(2, len(str(len(content))))
        for number, part in enumerate(content, 1):
            yield from _leaves((*path, f"{number:0{width}}"), part)
    elif isinstance(content, Mapping):
        for key, part in content.items():
            yield from _leaves((*path, str(key)), part)
    elif content is not None:
        yield OutputLeaf(path, content)


def output_warnings(outputs: Mapping[str, Any]) -> list[str]:
    """What a user must know of the outputs of a run: the warnings of its reports, and audio that is almost silent."""
    leaves = output_leaves(outputs)
    return list(dict.fromkeys(warning for leaf in leaves for warning in leaf_warnings(leaf.name, leaf.content)))


def leaf_warnings(name: str, content: Any) -> list[str]:
    """As `output_warnings`, of one leaf."""
    if isinstance(content, Report):
        said = content.entries.get("warnings")
        return [str(warning) for warning in said] if isinstance(said, list) else []
    if isinstance(content, Audio) and (warning := _silence(content)):
        return [f"output {name} is {warning}"]
    return []


def _silence(audio: Audio) -> str | None:
    from acestep_flows.audio.loudness import rms

    return silence_warning(rms(audio))


def silence_warning(level: float | None) -> str | None:
    """What to say of audio with this rms over the whole, in dBFS; None of audio that can be heard.

    Args:
        level: None is digital silence.
    """
    if level is None:
        return "silent"
    return f"almost silent ({level:.0f} dBFS)" if level < ALMOST_SILENT else None


def placed_files(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Where the files that a recipe names lie from `folder`, into which it is written, and where its paths began.

    So the recipe finds them again from another working folder, and after both have been moved together.
    """
    if not recipe.files:
        return {}
    sources: dict[str, str] = {}
    for digest, path in recipe.files.items():
        with contextlib.suppress(ValueError, InputError):  # on another drive; of a user who is not here
            sources[digest] = Path(os.path.relpath(storage.user_path(path, "recipe"), folder)).as_posix()
    return {"sources": sources, "folder": str(Path.cwd())}


def audio_tag_recipe(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recipe (JSON) as the tags of an audio file hold it: without its nodes where there are very many.

    The working folder is left out too: songs are passed on, and it tells whose machine it was.
    """
    kept = {name: part for name, part in recipe.items() if name != "folder"}
    return kept if len(kept.get("nodes", ())) <= MOST_NODES_IN_TAGS else {**kept, "nodes": []}


def encode_output(
    leaf: Any, title: str, format: str, recipe: Mapping[str, Any], kept: KeptEncodings | None = None
) -> OutputFile:
    """The file of one leaf: audio with tags, a `File` as it is, other values as safetensors, the rest as JSON.

    Audio keeps its rate if the format has it.

    Args:
        leaf: a value or JSON.
        title: for the tags of audio.
        format: of audio: wav, flac, mp3 or ogg.
        recipe: for the tags of audio (`audio_tag_recipe`).
        kept: encodes audio, if the same may come again.

    Raises:
        InputError: audio that the format cannot hold.
    """
    if isinstance(leaf, Audio):
        from acestep_flows.audio import write
        from acestep_flows.audio.formats import FORMATS
        from acestep_flows.audio.tags import Tags

        kind = FORMATS[format]
        rate, tags = write.own_rate(leaf, kind), Tags(recipe, title=title)
        if kept is None:
            encoded = write.encode(leaf, kind, subtype=None, tags=tags, sample_rate=rate)
        else:
            encoded = kept.encode(leaf, kind, tags=tags, sample_rate=rate)
        details, warnings = _length(leaf), write.warnings(encoded)
        return OutputFile(encoded.content, "audio", CONTENT_TYPES[format], format, details, warnings)
    if isinstance(leaf, File):
        type_name = "audio" if leaf.format in CONTENT_TYPES else "file"
        return OutputFile(leaf.content.tobytes(), type_name, CONTENT_TYPES.get(leaf.format, VALUE_TYPE), leaf.format)
    if isinstance(leaf, Report):
        return OutputFile(json_bytes(leaf.entries), "report", JSON_TYPE, "json")
    if isinstance(leaf, Value):
        return OutputFile(encode_value(leaf), leaf.kind, VALUE_TYPE, "safetensors", _length(leaf))
    return OutputFile(json_bytes(leaf), "json", JSON_TYPE, "json")


def json_bytes(content: Any) -> bytes:
    """JSON as it stands in files."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _length(value: Value) -> dict[str, float]:
    seconds = getattr(value, "seconds", None)
    return {} if seconds is None else {"seconds": round(float(seconds), 3)}


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
        keep: outputs to write as files that are not otherwise, such as latents.

    Returns:
        The files, the recipe last.

    Raises:
        StorageError: something cannot be written.
    """
    recipe_json = recipe.as_json() | placed_files(recipe, folder)
    tag_recipe = audio_tag_recipe(recipe_json)
    paths: list[Path] = []
    sums: dict[str, str] = {}
    reports: dict[str, Any] = {}
    pictures: list[tuple[Path, Audio]] = []
    warnings = output_warnings(outputs)
    for leaf in output_leaves(outputs):
        content = leaf.content
        if isinstance(content, Report):
            reports[leaf.label] = content.entries
        elif not isinstance(content, Value):
            reports[leaf.label] = content
        elif isinstance(content, (Audio, File)) or leaf.path[0] in keep:
            base = folder / leaf.file_stem(stem)
            path, warning = _write_leaf(base, content, format, tag_recipe, sums)
            paths.append(path)
            warnings += [f"{path.name}: {warning}"] if warning else []
            if isinstance(content, Audio):
                pictures.append((base.with_name(f"{base.name}.png"), content))
                paths.append(pictures[-1][0])
    summary = recipe_json | {
        "written": [path.name for path in paths],
        "sha256": sums,
        "reports": reports,
        "warnings": warnings,
    }
    recipe_path = storage.write(folder / f"{stem}.json", json_bytes(summary))
    _draw(pictures)
    return [*paths, recipe_path]


def _draw(pictures: Sequence[tuple[Path, Audio]]) -> None:
    """Draw each audio, when all songs are on disk: loading what draws takes half a second."""
    if pictures:
        from acestep_flows.audio import picture

        for path, audio in pictures:
            picture.picture(path, audio, path.stem)


def _write_leaf(
    base: Path, value: Value, format: str, recipe: Mapping[str, Any], sums: dict[str, str]
) -> tuple[Path, str | None]:
    """Write one value beside `base`: the file, and a warning about it. It is logged.

    The file's sha256 is added to `sums`.
    """
    file = encode_output(value, base.name, format, recipe)
    path = storage.write(base.with_name(f"{base.name}.{file.extension}"), file.content)
    sums[path.name] = hashlib.sha256(file.content).hexdigest()
    if file.warning:
        log.warning("%s: %s", path.name, file.warning)
    return path, file.warning
