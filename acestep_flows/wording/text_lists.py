"""Lists as people type them: elements between commas, texts between lines, or JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.wording.phrases import clip

RULE = "---"
"""A line of its own between the texts of a file, where texts have blank lines of their own."""

_RANGE = re.compile(r"\s*(\d{1,10})\s*\.\.\s*(\d{1,10})\s*")
_DASHED = re.compile(r"\s*(\d{1,10})\s*[-\u2010-\u2015]\s*(\d{1,10})\s*")
_STRUCTURE_TAG = re.compile(r"\s*\[[^\]\",'\d\u201c\u201d\u2018\u2019\u201e][^\]\",]*\]")
_TAG_LINE = re.compile(r"\s*\[[^\]]+\]\s*")
_CURLY = re.compile("[\u201c\u201d\u2018\u2019\u201e]")
MOST_IN_RANGE = 10_000


def is_json(text: str) -> bool:
    """Whether `text` is meant as a JSON list: it opens a bracket, which is not that of a structure tag."""
    return text.lstrip().startswith("[") and not _STRUCTURE_TAG.match(text)


def read_json(text: str, name: str, wanted: str) -> Any:
    """The content of JSON text.

    Raises:
        InputError: it is not JSON, or names a field twice. Says where, and what to write for quotes of other kinds.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            names = [key for key, _ in pairs]
            twice = next(key for key in names if names.count(key) > 1)
            raise InputError(f"field {clip(twice)!r} is given twice", where=name, allowed="each field once")
        return fields

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        spot = getattr(error, "pos", None)
        where = f", at character {spot + 1}" if spot is not None else ""
        hint = '; write straight double quotes (")' if _CURLY.search(text) or re.search(r"[\[{:,]\s*'", text) else ""
        what = f"{clip(text, 80)!r} is not JSON{where}{hint}"
        raise InputError(what, where=name, allowed=f"{wanted} as JSON") from None


def split_plain(text: str, name: str, example: str) -> list[str]:
    """Elements between commas, or one on each line. A comma at the end is allowed, an empty element is not.

    Raises:
        InputError: an element is empty.
    """
    separator = "\n" if "\n" in text.strip() else ","
    parts = [part.strip() for part in text.strip().split(separator)]
    if separator == "\n":
        return [part for part in parts if part]
    if parts and not parts[-1]:
        parts.pop()
    for i, part in enumerate(parts):
        if not part:
            raise InputError(f"element {i + 1} of {clip(text)!r} is empty", where=name, allowed=example)
    return parts


def expand_ranges(parts: Iterable[str], name: str) -> list[str]:
    """Whole numbers, with `1..4` as 1, 2, 3, 4.

    Raises:
        InputError: a range falls, is very long, or is written with a dash.
    """
    expanded: list[str] = []
    for part in parts:
        if dashed := _DASHED.fullmatch(part):
            raise InputError(f"{part!r} is not a whole number; write {dashed[1]}..{dashed[2]}", where=name)
        ends = _RANGE.fullmatch(part)
        if ends is None:
            expanded.append(part)
            continue
        first, last = int(ends[1]), int(ends[2])
        if not 0 <= last - first < MOST_IN_RANGE:
            raise InputError(clip(part), where=name, allowed=f"a rising range of at most {MOST_IN_RANGE}")
        expanded += map(str, range(first, last + 1))
    return expanded


def split_typed_texts(text: str, name: str) -> list[str]:
    """Texts typed as one value: one text, or one on each line.

    Raises:
        InputError: a comma could be part of a text or stand between two.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(lines) < 2 and len(parts) > 1:
        one, several = (json.dumps(texts, ensure_ascii=False) for texts in ([text.strip()], parts))
        what = f"{clip(text)!r} can be read as one text or as {len(parts)}"
        raise InputError(what, where=name, allowed=f"{name}='{clip(several, 200)}' or {name}='{clip(one, 200)}'")
    return lines


def split_texts_of_file(text: str, name: str) -> tuple[list[str], str]:
    """The texts in a file, and what stood between them.

    A line `---` separates texts; without one, blank lines do; without these, every line is a text.

    Raises:
        InputError: several structure tags without a blank line: each of them may begin a text, or none.
    """
    lines = text.split("\n")
    if any(line.strip() == RULE for line in lines):
        return _gathered(lines, lambda line: line.strip() == RULE), f"a line {RULE}"
    blocks = _gathered(lines, lambda line: not line.strip())
    if len(blocks) > 1:
        return blocks, "blank lines"
    tags = sum(bool(_TAG_LINE.fullmatch(line)) for line in lines)
    filled = [line for line in lines if line.strip()]
    if tags == 1 and len(filled) > 1 and _TAG_LINE.fullmatch(filled[0]):
        return blocks, "nothing"
    if tags and len(filled) > tags:
        what = f"{len(filled)} lines with {tags} structure tags and no blank line: one text, or several?"
        raise InputError(what, where=name, allowed=f"a blank line or a line {RULE} between texts, or a JSON list")
    return [line.strip() for line in filled], "line breaks"


def _gathered(lines: Iterable[str], separates: Any) -> list[str]:
    """Lines joined to texts between those that separate; blank lines at the ends of a text are dropped."""
    texts: list[list[str]] = [[]]
    for line in lines:
        if separates(line):
            texts.append([])
        else:
            texts[-1].append(line.rstrip())
    return [joined for block in texts if (joined := "\n".join(block).strip("\n")).strip()]
