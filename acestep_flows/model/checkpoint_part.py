"""One part of a checkpoint: its config and its weights file's header, read and compared with the published layout."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acestep_flows.errors import CheckpointError
from acestep_flows.model.layout import ALIASES, CLASSES, LAYOUTS, Layout, class_name, is_optional

MAX_HEADER_BYTES = 100_000_000
MAX_NAMED = 3
"""How many tensors of each kind an error names before it only counts the rest."""


@dataclass(frozen=True)
class CheckpointPart:
    """One folder of a checkpoint.

    Attributes:
        folder: the folder.
        config: its parsed `config.json`.
        weights: its weights file.
        shapes: names and shapes in the header of the weights file.
        stamp: `file_stamp` of the weights file when its header was read.
    """

    folder: Path
    config: Mapping[str, Any]
    weights: Path
    shapes: Layout
    stamp: tuple[int, ...]


def read_part(config_file: Path, weights: Path, part: str) -> CheckpointPart:
    """Read the config and the header of the weights file of `part`, and check one against the other.

    Raises:
        CheckpointError: a file is damaged, or the tensors are not those that the config implies.
    """
    config = _read_config(config_file, part)
    shapes = _read_header(weights)
    try:
        expected = LAYOUTS[class_name(config)](config)
        _check_sizes(expected)
    except KeyError as error:
        raise CheckpointError(f"no entry {error}", where=str(config_file)) from None
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"sizes that fit no {class_name(config)}: {error}", where=str(config_file)) from None
    mismatches = list(_compare(shapes, expected))
    if mismatches:
        raise CheckpointError(
            "; ".join(mismatches), where=str(weights), allowed=f"the tensors that {part}/{config_file.name} implies"
        )
    return CheckpointPart(config_file.parent, config, weights, shapes, file_stamp(weights))


def _read_config(file: Path, part: str) -> Mapping[str, Any]:
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"not readable as JSON: {error}", where=str(file)) from None
    name = class_name(config) if isinstance(config, dict) else ""
    if name not in CLASSES[part]:
        raise CheckpointError(f"class {name!r}", where=str(file), allowed=" or ".join(CLASSES[part]))
    return dict(config)


def _read_header(file: Path) -> Layout:
    """Names and shapes in a safetensors header; refuses a file whose length differs from the header's."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= MAX_HEADER_BYTES:
            raise CheckpointError("not a safetensors file", where=str(file))
        text = stream.read(length)
    if len(text) < length:
        raise CheckpointError(f"truncated: {size} bytes, the header alone has {8 + length}", where=str(file))
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
        expected = 8 + length + max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise CheckpointError("damaged: the safetensors header does not parse", where=str(file)) from None
    if size != expected:
        problem = "truncated" if size < expected else "too long"
        raise CheckpointError(f"{problem}: {size} bytes", where=str(file), allowed=f"{expected} bytes")
    return shapes


def _check_sizes(layout: Mapping[str, Sequence[object]]) -> None:
    """Raise ValueError for a size that is not a positive whole number."""
    for name, shape in layout.items():
        if not all(isinstance(size, int) and size > 0 for size in shape):
            raise ValueError(f"{name} would be {list(shape)}")


def check_vocab(file: Path, size: int) -> None:
    """Refuse a lyric vocabulary with ids of `size` or more, for which the lyric encoder has no embedding.

    Raises:
        CheckpointError: not a tokenizer file, or an id is too large.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        ids = [*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])]
        largest = max(ids)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError("not a tokenizer file", where=str(file), allowed="a `tokenizers` JSON file") from None
    if largest >= size:
        raise CheckpointError(
            f"token ids up to {largest}", where=str(file), allowed=f"ids below {size}, the lyric encoder's vocabulary"
        )


def _compare(shapes: Layout, expected: Layout) -> Iterator[str]:
    """The differences between the tensors of a file and those expected, as parts of an error."""
    missing = [name for name in expected if name not in shapes and not is_optional(name)]
    if missing:
        yield f"missing {list_names(missing)}"
    extra = [name for name in shapes if name not in expected and name not in ALIASES]
    if extra:
        yield f"unknown {list_names(extra)}"
    misshapen = [
        f"{name} of shape {list(shapes[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    ]
    if misshapen:
        yield list_names(misshapen)


def list_names(names: Sequence[str]) -> str:
    """The names in one line; of more than four, the first three and a count of the rest."""
    if len(names) <= MAX_NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:MAX_NAMED])} and {len(names) - MAX_NAMED} more"


def file_stamp(file: Path) -> tuple[int, ...]:
    """Size, inode, and times of the last changes in nanoseconds: some of them change when the content does."""
    status = file.stat()
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
