"""From cells to the inputs of a graph: read by the declared types, as plain JSON, files as paths until they are needed.

Rows cross processes and lie in tables, so they hold no audio: where a graph wants audio, latents and the like, a row
holds an absolute path or a URL, and `opened` reads it where the song is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.types import Declaration, accept
from acestep_flows.input_reader import InputReader
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MAX_SEED, Value

Reading = Callable[[Any], Any]
_PLAIN = ("text", "int", "float", "bool", "seed")


def is_file(kind: PortType) -> bool:
    """Whether values of this type come from files."""
    return kind.kind in Value.kinds and kind.kind not in ("span", "report")


def has_files(kind: PortType) -> bool:
    """The same, for some part of a list or record."""
    parts = [kind.item] if kind.item is not None else [part for _, part in kind.fields]
    return is_file(kind) or any(has_files(part) for part in parts)


class CellReader(InputReader):
    """Reads the cells of a csv. Unlike on a command line, `@` is nothing special: cells name no files to be read in."""

    def read(self, text: str, kind: PortType, name: str) -> Any:
        if is_file(kind):
            return text
        return super().read(f"@{text}" if text.startswith("@") else text, kind, name)

    def value(self, path: str, kind: str, name: str) -> Any:
        """Files stay paths."""
        return path


class PathReader(InputReader):
    """Reads `--set` options for rows: texts may come from files (`lyrics=@song.txt`), audio stays a path."""

    def value(self, path: str, kind: str, name: str) -> Any:
        """The absolute path of a file that is there, or a URL."""
        return located(path, "", name)


def located(path: Any, base: str, name: str) -> str:
    """A file that a row names, as an absolute path or URL.

    Args:
        path: as it stands in the cell.
        base: the folder that relative paths start from; empty: the working folder.

    Raises:
        InputError: no text, or no file there. URLs are believed.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        raise InputError(f"{path!r:.80}", where=name, allowed="the path of a file, or a URL")
    if "://" in path:
        return path
    whole = os.path.normpath(os.path.join(base or os.getcwd(), os.path.expanduser(path)))
    if not os.path.isfile(whole):
        raise InputError(f"no file {path[:200]!r}", where=name, allowed="a file that is there")
    return whole


def reading(declared: Declaration, base: str = "") -> Reading:
    """What turns a cell into the input that a row holds: plain JSON, checked, whole numbers made floats where due.

    Raises (when called):
        InputError: the cell is not of the type, out of range, none of the choices, or names no file.
    """
    name, kind = declared.name, declared.type
    if has_files(kind):

        def with_files(cell: Any) -> Any:
            kept = _swap(cell, kind, name, lambda path, _: located(path, base, name))
            accept(declared, _swap(kept, kind, name, _stand_in), name, _no_draw)
            return kept

        return with_files
    if kind.kind in _PLAIN:
        return lambda cell: cell if cell == "random" and kind.kind == "seed" else accept(declared, cell, name, _no_draw)

    def structured(cell: Any) -> Any:
        accept(declared, cell, name, _no_draw)  # it may hold spans; the row keeps them as they were written
        return cell

    return structured


def opened(
    inputs: Mapping[str, Any], declared: Mapping[str, Declaration], reader: InputReader | None = None
) -> dict[str, Any]:
    """The inputs of a row with its files read, as `lay_out` takes them. Reads files: not for event loops.

    Args:
        reader: remembers which value came from which file, for the recipe.

    Raises:
        InputError: a file is gone, or is not of its type.
    """
    files = reader if reader is not None else InputReader()
    values = dict(inputs)
    for name in inputs.keys() & declared.keys():
        values[name] = _swap(inputs[name], declared[name].type, name, partial(_value, files, name))
    return values


def _value(reader: InputReader, name: str, path: Any, kind: PortType) -> Any:
    if "://" not in path:
        return reader.value(path, kind.kind, name)
    if kind.kind != "audio":
        raise InputError(f"{path[:200]!r}", where=name, allowed=f"a local file, for {kind.kind}")
    from acestep_flows.audio import read

    value = read.audio(_fetched(path, name))
    reader.files[value.digest] = path
    return value


def _fetched(url: str, name: str) -> bytes:
    import pyarrow as pa
    from pyarrow import fs

    try:
        files, path = fs.FileSystem.from_uri(url)
        with files.open_input_stream(path, compression=None) as stream:
            content: bytes = stream.read()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{url[:200]}: cannot be read: {' '.join(str(error).split())[:200]}", where=name) from None
    return content


def _swap(given: Any, kind: PortType, name: str, leaf: Callable[[Any, PortType], Any]) -> Any:
    """`given` with `leaf` applied wherever the type wants a file."""
    if given is None and kind.optional:
        return None
    if is_file(kind):
        return leaf(given, kind)
    if kind.kind == "list" and kind.item is not None and isinstance(given, (list, tuple)):
        return [_swap(part, kind.item, name, leaf) for part in given]
    if kind.kind == "record" and isinstance(given, Mapping):
        kinds = dict(kind.fields)
        return {key: _swap(part, kinds[key], name, leaf) if key in kinds else part for key, part in given.items()}
    return given


def _stand_in(path: Any, kind: PortType) -> Any:
    """Something of the type for checks that look at nothing else."""
    return object.__new__(Value.kinds[kind.kind])


def stand_ins(inputs: Mapping[str, Any], declared: Mapping[str, Declaration]) -> dict[str, Any]:
    """A row's inputs with something of the right type in place of files: enough to lay out a plan, not to run it."""
    return {
        name: _swap(given, declared[name].type, name, _stand_in) if name in declared else given
        for name, given in inputs.items()
    }


def _no_draw(where: str) -> int:
    return MAX_SEED
