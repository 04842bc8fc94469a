"""Sweeps: `seed=0..99` or `tags=@styles.txt` multiply every row by each value, always in the same order."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from acestep_flows.bulk.inputs import PathReader, reading
from acestep_flows.bulk.job import Sweep
from acestep_flows.errors import InputError
from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import clip, unlike
from acestep_flows.input_reader import InputReader
from acestep_flows.stages.ports import PortType
from acestep_flows.wording import text_lists
from acestep_flows.wording.phrases import allowing

MAX_VALUES = 1_000_000
_TEXT = PortType("text")
_RANGE = re.compile(r"\s*(-?\d{1,18})\s*\.\.\s*(-?\d{1,18})\s*")
_DASHED = re.compile(r"\s*(\d{1,18})\s*[-–]\s*(\d{1,18})\s*")
"""How ranges are written elsewhere."""


def parse_sweep(text: str, declared: Mapping[str, Declaration]) -> Sweep:
    """The sweep in the text of an option.

    Args:
        text: `name=0..99` (both ends included), `name=@FILE` (a value on each line), `name=[...]` (a JSON list), or
            `name=a,b,c` unless the input is free text.
        declared: the inputs of the graph.

    Raises:
        InputError: an unknown input, no values, one twice, or one that the graph does not take.
    """
    name, equals, words = text.partition("=")
    name = name.strip()
    if not equals or not name or not words.strip():
        raise InputError(
            f"{clip(text)!r}", where="--sweep", allowed="such as seed=0..99, steps=20,60 or tags=@styles.txt"
        )
    if name not in declared:
        raise allowing(InputError(unlike("input", name, declared), where="--sweep"), declared)
    values = tuple(_checked(value, declared[name], i) for i, value in enumerate(_values(words, declared[name]), 1))
    if not values:
        raise InputError("no values", where=f"--sweep {name}", allowed="at least one")
    seen: set[str] = set()
    for value in values:
        key = json.dumps(value, sort_keys=True)
        if key in seen:
            raise InputError(f"{clip(key)} twice", where=f"--sweep {name}", allowed="each value once")
        seen.add(key)
    return Sweep(name, values)


def combinations(sweeps: Sequence[Sweep]) -> Iterator[dict[str, Any]]:
    """Every combination of the values, the last sweep changing fastest; without sweeps, one empty combination."""
    for values in itertools.product(*(sweep.values for sweep in sweeps)):
        yield {sweep.name: value for sweep, value in zip(sweeps, values, strict=True)}


def _values(words: str, declared: Declaration) -> list[Any]:
    where, kind = f"--sweep {declared.name}", declared.type
    if (ends := _RANGE.fullmatch(words)) and kind.kind in ("int", "float", "seed"):
        first, last = int(ends[1]), int(ends[2])
        if last < first or last - first >= MAX_VALUES:
            raise InputError(clip(words), where=where, allowed=f"a rising range of at most {MAX_VALUES}")
        return list(range(first, last + 1))
    if (ends := _DASHED.fullmatch(words)) and kind.kind in ("int", "float", "seed"):
        raise InputError(clip(words), where=where, allowed=f"{ends[1]}..{ends[2]} for a range, or a list such as 8,9")
    reader, unit = PathReader(), declared.unit
    if words.startswith("@"):
        lines = InputReader().read(words, _TEXT, where).split("\n")
        filled = [line.strip() for line in lines if line.strip()]
        return filled if kind.kind == "text" else [reader.read(_escaped(line), kind, where, unit) for line in filled]
    if words.lstrip().startswith("["):
        return list(text_lists.read_json(words, where, "a list"))
    if kind.kind == "text" and not declared.choices:
        allowed = 'a file with a value on each line (@FILE), or a JSON list ["...", "..."]'
        raise InputError(f"{clip(words)!r}", where=where, allowed=allowed)
    if kind.kind in ("list", "record", "span"):
        raise InputError(f"{clip(words)!r}", where=where, allowed="a JSON list of values")
    return [reader.read(_escaped(part.strip()), kind, where, unit) for part in words.split(",") if part.strip()]


def _escaped(text: str) -> str:
    """Escape a value that begins with `@`, so that it is not read as a file."""
    return f"@{text}" if text.startswith("@") else text


def _checked(value: Any, declared: Declaration, number: int) -> Any:
    try:
        return reading(declared)(value)
    except InputError as error:
        raise InputError(f"value {number}: {error}", where=f"--sweep {declared.name}") from None
