"""YAML read into a tree that knows the line and column of every key and value.

Only plain YAML is read: one document of maps, lists and scalars. Anchors, aliases and tags are refused, so a small file
cannot unfold into a large tree and nothing in a file can name an object to build. Scalars follow YAML 1.2 (`no` and
`on` are words, `1:30` is text), numbers are finite, a key occurs once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from acestep_flows.errors import Problem
from acestep_flows.graph.pauses import pause

MAX_BYTES = 1_000_000
MAX_VALUES = 50_000
MAX_DEPTH = 20
MOST_PLAIN = 4 * MAX_VALUES
"""Keys and values of plain data: what a file becomes when its groups are written out."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is about ten times faster
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,5})?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


class SourcePosition(NamedTuple):
    """A position in the file, counted from 1; 0 where there is none."""

    line: int = 0
    column: int = 0


NOWHERE = SourcePosition()


@dataclass(frozen=True, slots=True)
class Scalar:
    """Text, a number, a boolean or null."""

    value: str | int | float | bool | None
    place: SourcePosition = NOWHERE


@dataclass(frozen=True, slots=True)
class Items:
    """A list; once `parse` has read the language, elements may be references (`syntax.Argument`)."""

    items: tuple[Any, ...]
    place: SourcePosition = NOWHERE


@dataclass(frozen=True, slots=True)
class Fields:
    """A map; `keys` holds where each key stands."""

    entries: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, SourcePosition] = field(default_factory=dict)
    place: SourcePosition = NOWHERE


Node = Scalar | Items | Fields


def plain(node: Any) -> Any:
    """The tree as plain Python data, places left out."""
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    if isinstance(node, Fields):
        return {key: plain(value) for key, value in node.entries.items()}
    return node.value


def from_plain(content: Any) -> tuple[Node | None, list[Problem]]:
    """Plain data, such as the `plain` of a document, as a tree without places.

    JSON is not read as YAML: YAML reads an escaped character beyond U+FFFF as two halves of one, and escapes would
    count towards the bytes of the file.

    Returns:
        As `read`. Numbers, texts, booleans, null, lists and maps with texts as keys are plain.
    """
    problems: list[Problem] = []
    try:
        return _from_plain(content, problems, 0, [0]), problems
    except _Refused as refused:
        return None, [*problems, refused.problem]


def _from_plain(content: Any, problems: list[Problem], depth: int, count: list[int]) -> Node:
    count[0] += 1
    pause()
    if count[0] > MOST_PLAIN:
        raise _Refused("too-large", f"more than {MOST_PLAIN} keys and values, which no graph needs")
    if isinstance(content, (Mapping, list, tuple)) and depth == MAX_DEPTH:
        raise _Refused("too-deep", f"lists and maps nested deeper than {MAX_DEPTH}, which no graph needs")
    if isinstance(content, Mapping):
        entries = {
            _clean(str(key), NOWHERE): _from_plain(part, problems, depth + 1, count) for key, part in content.items()
        }
        return Fields(entries, dict.fromkeys(entries, NOWHERE))
    if isinstance(content, (list, tuple)):
        return Items(tuple(_from_plain(part, problems, depth + 1, count) for part in content))
    if isinstance(content, str):
        return Scalar(_clean(content, NOWHERE))
    if isinstance(content, float) and not math.isfinite(content):
        problems.append(Problem("not-finite", f"{content} is not a finite number"))
        return Scalar(0.0)
    if content is None or isinstance(content, (bool, int, float)):
        return Scalar(content)
    raise _Refused("not-plain", f"a Python {type(content).__name__}, where a graph has text, numbers, lists and maps")


class _Refused(Exception):
    """The document cannot be read further."""

    def __init__(self, rule: str, message: str, place: SourcePosition = NOWHERE) -> None:
        self.problem = Problem(rule, message, line=place.line, column=place.column)


def read(content: str | bytes) -> tuple[Node | None, list[Problem]]:
    """Read one YAML document.

    Returns:
        The tree, None where the text is not readable as a whole, and every problem found (without a file name).
    """
    problems: list[Problem] = []
    try:
        return _build(_events(_text(content)), problems), problems
    except _Refused as refused:
        return None, [*problems, refused.problem]


def _text(content: str | bytes) -> str:
    if len(content) > MAX_BYTES:
        raise _Refused("too-large", f"the file is larger than {MAX_BYTES} bytes, which no graph needs")
    try:
        if isinstance(content, bytes):
            return content.decode("utf-8-sig")
        content.encode()  # a str may hold lone surrogates
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise _Refused("not-text", f"not UTF-8 text: {error.reason} at position {error.start}") from None
    return content


def _events(text: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        place = _place(error.problem_mark or error.context_mark)
        raise _Refused("yaml", f"not valid YAML: {error.problem or error.context}", place) from None
    except yaml.reader.ReaderError as error:
        raise _Refused("yaml", f"not valid YAML: {error.reason} at position {error.position}") from None


def _place(mark: Any) -> SourcePosition:
    return SourcePosition(mark.line + 1, mark.column + 1) if mark else SourcePosition()


@dataclass(slots=True)
class _Open:
    """A list or map that is not complete yet; `key` is the key whose value comes next."""

    place: SourcePosition
    is_map: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, SourcePosition] = field(default_factory=dict)
    key: str | None = None


def _build(events: Iterator[Any], problems: list[Problem]) -> Node | None:
    """The tree of the only document. A loop with its own stack, so that depth has a limit of our own."""
    stack: list[_Open] = []
    root: Node | None = None
    documents = values = 0
    for event in events:
        place = _place(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Refused("yaml", "a second document starts here; a file holds one graph", place)
            continue
        if not isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
            continue
        values += 1
        pause()
        if values > MAX_VALUES:
            raise _Refused("too-large", f"more than {MAX_VALUES} keys and values, which no graph needs", place)
        node = _node(event, place, stack, problems)
        if node is None:
            continue
        if stack:
            _add(stack[-1], node, problems)
        else:
            root = node
    return root


def _node(event: Any, place: SourcePosition, stack: list[_Open], problems: list[Problem]) -> Node | None:
    """The node that `event` completes, if it does."""
    if isinstance(event, yaml.CollectionEndEvent):
        done = stack.pop()
        return Fields(done.entries, done.keys, done.place) if done.is_map else Items(tuple(done.items), done.place)
    _refuse_alias_and_tag(event, place)
    waits_for_key = bool(stack) and stack[-1].is_map and stack[-1].key is None
    if isinstance(event, yaml.ScalarEvent):
        if waits_for_key or not event.implicit[0]:
            return Scalar(_clean(event.value, place), place)
        return Scalar(_resolve(_clean(event.value, place), place, problems), place)
    if waits_for_key:
        raise _Refused("yaml", "a key must be a word, not a list or a map", place)
    if len(stack) == MAX_DEPTH:
        raise _Refused("too-deep", f"lists and maps nested deeper than {MAX_DEPTH}, which no graph needs", place)
    stack.append(_Open(place, isinstance(event, yaml.MappingStartEvent)))
    return None


def _refuse_alias_and_tag(event: Any, place: SourcePosition) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise _Refused("alias", f"alias *{event.anchor}: aliases are not part of the language; write the value", place)
    if event.anchor is not None:
        raise _Refused("alias", f"anchor &{event.anchor}: anchors are not part of the language; remove it", place)
    if event.tag is not None:
        raise _Refused("tag", f"tag {event.tag[:60]}: tags are not part of the language; remove it", place)


def _add(parent: _Open, node: Node, problems: list[Problem]) -> None:
    if not parent.is_map:
        parent.items.append(node)
    elif parent.key is None:
        assert isinstance(node, Scalar)
        parent.key = str(node.value)
        if parent.key in parent.keys:
            first = parent.keys[parent.key]
            message = f"key {parent.key[:60]!r} occurs twice; the first is in line {first.line}"
            problems.append(Problem("duplicate-key", message, line=node.place.line, column=node.place.column))
        parent.keys.setdefault(parent.key, node.place)
    else:
        parent.entries.setdefault(parent.key, node)
        parent.key = None


def _clean(text: str, place: SourcePosition) -> str:
    """`text`; refused where an escape in it makes a lone surrogate or a null character, which nothing can store."""
    found = _NO_TEXT.search(text)
    if found is None:
        return text
    if found[0] == "\0":
        raise _Refused("not-text", "a null character; remove it", place)
    raise _Refused("not-text", "an invalid Unicode character (lone surrogate); write the character itself", place)


def _resolve(word: str, place: SourcePosition, problems: list[Problem]) -> str | int | float | bool | None:
    """What a plain scalar means: null, a boolean, a number, else text."""
    if word in _WORDS:
        return _WORDS[word]
    if _INT.fullmatch(word):
        return int(word)
    if _FLOAT.fullmatch(word) and math.isfinite(float(word)):
        return float(word)
    if not (_FLOAT.fullmatch(word) or _NOT_FINITE.fullmatch(word)):
        return word
    problems.append(Problem("not-finite", f"{word[:60]} is not a finite number", line=place.line, column=place.column))
    return 0.0
