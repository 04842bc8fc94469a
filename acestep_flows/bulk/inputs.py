"""Read cells as the inputs of a graph: JSON by the declared types, with paths in place of files.

Rows are sent between processes and stored in tables, so they hold no audio: where a graph wants audio, latents and the
like, a row holds an absolute path or a URL, and `opened` reads it where the song is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from acestep_flows.bulk.urls import url_below
from acestep_flows.errors import InputError
from acestep_flows.graph.language.types import RANDOM, SCALARS, Declaration, accept, record_type
from acestep_flows.input_reader import InputReader
from acestep_flows.stages.ports import PortType
from acestep_flows.value_file import form_of_music
from acestep_flows.values import MAX_SEED, MUSIC, Value

ReadCell = Callable[[Any], Any]
"""Turns a cell of a manifest into the input that a row holds."""


class CellReader(InputReader):
    """Reads the cells of a csv. Unlike on a command line, `@` has no meaning: cells name no text files."""

    typed = False

    def read(self, text: str, kind: PortType, name: str, unit: str = "") -> Any:
        if kind.is_file:
            return text
        return super().read(f"@{text}" if text.startswith("@") else text, kind, name, unit)

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
        path: as it is in the cell.
        base: the folder that relative paths start from, a path or a URL; empty: the working folder.

    Raises:
        InputError: no text, or no file there. URLs are not checked.
    """
    if not isinstance(path, str) or not path or "\0" in path:
        raise InputError(f"{path!r:.80}", where=name, allowed="the path of a file, or a URL")
    if "://" in path:
        return path
    expanded = os.path.expanduser(path)
    if "://" in base and not os.path.isabs(expanded):
        return url_below(base, path, name)
    whole = os.path.normpath(os.path.join(base or os.getcwd(), expanded))
    if not os.path.isfile(whole):
        raise InputError(f"no file {path[:200]!r}", where=name, allowed="a file that is there")
    return whole


def reading(declared: Declaration, base: str = "") -> ReadCell:
    """A function that turns a cell into the input that a row holds: checked JSON, whole numbers as floats where due.

    Raises (when called):
        InputError: the cell is not of the type, out of range, none of the choices, or names no file.
    """
    name, kind = declared.name, declared.type

    def read_scalar(cell: Any) -> Any:
        cell = _plain(cell)
        return cell if cell == RANDOM and kind.kind == "seed" else accept(declared, cell, name, _no_draw)

    def read_structure(cell: Any) -> Any:
        cell = _plain(cell)
        located_cell = kind.map_files(cell, partial(_located, base), name)
        accept(declared, kind.map_files(located_cell, _stand_in), name, _no_draw)
        return located_cell  # not what `accept` returns: a row holds JSON, spans too

    return read_scalar if kind.kind in SCALARS else read_structure


def _plain(cell: Any) -> Any:
    """A cell with numbers in place of decimals, as databases write them to parquet."""
    if isinstance(cell, Decimal):
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    if isinstance(cell, list):
        return [_plain(part) for part in cell]
    return {name: _plain(part) for name, part in cell.items()} if isinstance(cell, dict) else cell


def _located(base: str, path: Any, kind: PortType, where: str) -> str:
    place = located(path, base, where)
    if "://" in place and "audio" not in kind.value_kinds:
        raise InputError(f"{place[:200]!r}", where=where, allowed=f"a local file, for {kind.kind}")
    return place


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
    values: dict[str, Any] = record_type(declared).map_files(inputs, partial(_read_value, files))
    return values


def _read_value(reader: InputReader, path: Any, kind: PortType, where: str) -> Value:
    if "://" not in path:
        return reader.value(path, kind.kind, where)
    if "audio" not in kind.value_kinds:
        raise InputError(f"{path[:200]!r}", where=where, allowed=f"a local file, for {kind.kind}")
    from acestep_flows.audio import read

    value = read.audio(_fetch(path, where), name=f"{where}: {path[:200]}")
    reader.files[value.digest] = path
    return value


def _fetch(url: str, where: str) -> bytes:
    import pyarrow as pa
    from pyarrow import fs

    try:
        files, path = fs.FileSystem.from_uri(url)
        with files.open_input_stream(path, compression=None) as stream:
            content: bytes = stream.read()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{url[:200]}: cannot be read: {' '.join(str(error).split())[:200]}", where=where) from None
    return content


def stand_ins(inputs: Mapping[str, Any], declared: Mapping[str, Declaration]) -> dict[str, Any]:
    """A row's inputs with an empty value in place of each file: enough to lay out a plan, not to run it.

    Where a file may be audio or latents, its content is looked at: their plans differ.
    """
    values: dict[str, Any] = record_type(declared).map_files(inputs, _stand_in_of_file)
    return values


def _stand_in_of_file(path: Any, kind: PortType, where: str) -> Value:
    if kind.kind != MUSIC or not isinstance(path, str) or "://" in path:
        return _stand_in(path, kind, where)
    return _stand_in(path, PortType(form_of_music(Path(path))), where)


def _stand_in(path: Any, kind: PortType, where: str) -> Value:
    """A value of the type without content, for checks that look at the type alone."""
    return object.__new__(Value.kinds[kind.value_kinds[0]])


def _no_draw(where: str) -> int:
    return MAX_SEED
