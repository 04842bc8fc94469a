"""The types of the language: the words that name them, and whether a value is of a type."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.document import NOWHERE, SourcePosition
from acestep_flows.graph.language.wording import between, brief, clip, counted, listing, nearest, show, unlike
from acestep_flows.stages.ports import PortType
from acestep_flows.values import MAX_SEED, MUSIC, Span, Value
from acestep_flows.wording.phrases import allowing
from acestep_flows.wording.quantities import typed_form

SCALARS = ("text", "int", "float", "bool", "seed")
MAX_ELEMENTS = 100_000
MAX_NESTED_LISTS = 4
LARGEST = 1e300
RANDOM = "random"
OPEN_END = 1e9
"""The end of a span that was left out, in seconds, until it is known how long the music is."""
MAX_WORD = 60
"""Characters of a text that may stand for a number."""
_SURROGATE = re.compile("[\ud800-\udfff]")

Draw = Callable[[str], int]
"""Draws the seed for the input or field named by the argument where `random` stands."""


def kinds() -> list[str]:
    """Every word that may stand as a type, `list of` aside."""
    return [*SCALARS, *sorted([*Value.kinds, MUSIC]), "record"]


def parse_type(words: str) -> PortType | str:
    """The type that `words` name, or a message about them. A record comes without its fields."""
    wrapped = 0
    rest = words.strip()
    while rest.startswith("list of ") and wrapped < MAX_NESTED_LISTS:
        rest, wrapped = rest.removeprefix("list of ").strip(), wrapped + 1
    if rest not in kinds():
        return unlike("type", rest, [*kinds(), "list of ..."])
    kind = PortType(rest)
    for _ in range(wrapped):
        kind = PortType("list", kind)
    return kind


@dataclass(frozen=True)
class Declaration:
    """A graph input, or one field of a record: its type and what values it takes.

    Attributes:
        name: the input's or field's name.
        type: its type; optional where the default is null.
        required: there is no default.
        default: the value where none is given; `random` draws a seed.
        minimum, maximum: bounds of a number, or of every number in a list.
        shortest, longest: bounds on the characters of a text or the elements of a list.
        choices: the values allowed, for a list those of its elements; empty allows all.
        unit: what a number counts ("s", "dB").
        at_most: the input that a number must not be above.
        within: the input of music in which a span lies. Its end may be left out, and is that of the music then.
        lengthens: the input of music that this many seconds are added to. It must not become too long for the model.
        advanced: few need it; listed apart from the others.
        similar: words that people may take for the name.
        group: the group that it was taken from; empty for one that the file declares itself.
        description: one line for whoever fills it in.
        fields: declarations of a record's fields, also of the records in a list.
        place: where the name stands in the file.
    """

    name: str
    type: PortType
    required: bool = True
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    shortest: int | None = None
    longest: int | None = None
    choices: tuple[Any, ...] = ()
    unit: str = ""
    at_most: str = ""
    within: str = ""
    lengthens: str = ""
    advanced: bool = False
    similar: tuple[str, ...] = ()
    group: str = ""
    description: str = ""
    fields: Mapping[str, Declaration] = field(default_factory=dict)
    place: SourcePosition = NOWHERE

    @cached_property
    def choice_set(self) -> frozenset[Any]:
        """The choices, to look one up."""
        return frozenset(self.choices)


def record_type(declarations: Mapping[str, Declaration]) -> PortType:
    """The inputs of a graph, or the fields of a record, as one type: `PortType.map` walks them all."""
    return PortType("record", fields=tuple((name, declared.type) for name, declared in declarations.items()))


def accept(declaration: Declaration, value: Any, where: str, draw: Draw) -> Any:
    """`value` as the plan carries it: spans made, seeds drawn, numbers in their type, record defaults filled in.

    Args:
        value: plain JSON data, or a `Value` where the type is one.
        where: named in errors and handed to `draw`, with `[3]` or `.field` added on the way down.

    Raises:
        InputError: the value is not of the type, out of range, or none of the choices.
    """
    if value is None and declaration.type.optional:
        return None
    accepted = _accept(declaration.type, declaration, value, where, draw)
    if isinstance(accepted, (str, list)):
        limits = between(declaration.shortest, declaration.longest)
        if not (declaration.shortest or 0) <= len(accepted) <= (declaration.longest or math.inf):
            noun = "character" if isinstance(accepted, str) else "element"
            size = counted(str(len(accepted)), noun) if accepted else "empty"
            raise InputError(size, where=where, allowed=counted(limits, noun))
    return accepted


def _accept(kind: PortType, declaration: Declaration, value: Any, where: str, draw: Draw) -> Any:
    if kind.kind == "list":
        assert kind.item is not None
        if not isinstance(value, (list, tuple)):
            raise InputError(show(value), where=where, allowed=kind.words)
        if len(value) > MAX_ELEMENTS:
            raise InputError(f"{len(value)} elements", where=where, allowed=f"at most {MAX_ELEMENTS}")
        return [_accept(kind.item, declaration, item, f"{where}[{i}]", draw) for i, item in enumerate(value)]
    if kind.kind == "record":
        return _record(declaration, value, where, draw)
    if kind.kind == "seed":
        accepted: Any = (
            draw(where) if value == RANDOM and isinstance(value, str) else _seed(value, where, "or 'random'")
        )
    elif kind.kind == "span" and declaration.within:
        accepted = value if isinstance(value, Span) else _span(_closed(value), where, "; the end may be left out")
    else:
        accepted = literal(kind, value, where)
    if declaration.choices and accepted not in declaration.choice_set:
        close = nearest(accepted, map(str, declaration.choices)) if isinstance(accepted, str) else None
        what = f"{brief(accepted)}, nearest {close!r}" if close else brief(accepted)
        raise InputError(what, where=where, allowed=map(brief, declaration.choices))
    _check_range(declaration, accepted, where)
    return accepted


def literal(kind: PortType, value: Any, where: str) -> Any:
    """`value` as one of type `kind`, which is neither list nor record.

    Raises:
        InputError: it is not.
    """
    name = kind.kind
    if kind.value_kinds:
        if isinstance(value, Value) and value.kind in kind.value_kinds:
            return value
        if name == "span":
            return _span(value, where)
    elif name == "any":
        return value
    elif name == "text" and isinstance(value, str):
        if "\0" in value:
            raise InputError("a null character", where=where, allowed="text without it")
        if _SURROGATE.search(value):
            raise InputError("an invalid Unicode character (lone surrogate)", where=where, allowed="Unicode text")
        return value
    elif name == "bool" and isinstance(value, bool):
        return value
    elif name == "seed":
        return _seed(value, where, "and 'random' for an input of a graph")
    elif name == "int" and _whole(value):
        return int(value)
    elif name == "float" and _number(value):
        return float(value)
    raise InputError(_found(value, name), where=where, allowed=_allowed_literal(kind))


def _found(value: Any, kind: str) -> str:
    """The value in words. Where text stands for a number, span or truth, also how that is written."""
    form = typed_form(value, kind) if isinstance(value, str) and len(value) <= MAX_WORD else ""
    return f"{show(value)}; write {form}" if form else show(value)


def _number(value: Any) -> bool:
    """A finite number; also numpy's."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return abs(float(value)) < LARGEST
    except OverflowError:  # an int too large for a float
        return False


def _whole(value: Any) -> bool:
    return _number(value) and value == math.floor(value)


def _allowed_literal(kind: PortType) -> str:
    words = {"text": "text", "bool": "true or false", "int": "a whole number", "float": "a finite number"}
    return words.get(kind.kind, f"a value of type {' or '.join(kind.value_kinds) or kind}")


def _seed(value: Any, where: str, also: str) -> int:
    if not _whole(value) or not 0 <= value <= MAX_SEED:
        raise InputError(_found(value, "seed"), where=where, allowed=f"0 to {MAX_SEED}, {also}")
    return int(value)


def _closed(value: Any) -> Any:
    """A span as it was written, with `OPEN_END` in place of an end that was left out."""
    if isinstance(value, Mapping) and {"start"} <= set(value) <= {"start", "end"} and value.get("end") is None:
        return {"start": value["start"], "end": OPEN_END}
    if isinstance(value, (list, tuple)) and len(value) == 2 and value[1] is None:
        return [value[0], OPEN_END]
    return value


def _span(value: Any, where: str, also: str = "") -> Span:
    ends = None
    if isinstance(value, Mapping) and set(value) == {"start", "end"}:
        ends = [value["start"], value["end"]]
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        ends = list(value)
    if ends is None:
        allowed = f"[start, end] or {{start: ..., end: ...}}, in seconds{also}"
        raise InputError(_found(value, "span"), where=where, allowed=allowed)
    for name, end in zip(("start", "end"), ends, strict=True):
        if not _number(end) or abs(end) > OPEN_END:
            raise InputError(f"{name} is {show(end)}", where=where, allowed="a finite number of seconds")
    start, end = (float(end) for end in ends)
    if not 0 <= start < end:
        raise InputError(f"{start:g} to {end:g} s", where=where, allowed="0 <= start < end, in seconds")
    return Span(start, end)


def _record(declaration: Declaration, value: Any, where: str, draw: Draw) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(show(value), where=where, allowed=f"a map with {listing(declaration.fields)}")
    for name in value:
        if name not in declaration.fields:
            fault = InputError(unlike("field", clip(str(name)), declaration.fields), where=where)
            raise allowing(fault, declaration.fields)
    record = {}
    for name, field_declaration in declaration.fields.items():
        inner = f"{where}.{name}"
        if name not in value and field_declaration.required:
            raise InputError("missing", where=inner, allowed=field_declaration.type.words)
        record[name] = accept(field_declaration, value.get(name, field_declaration.default), inner, draw)
    return record


def _check_range(declaration: Declaration, value: Any, where: str) -> None:
    if (declaration.minimum is None and declaration.maximum is None) or not _number(value):
        return
    low = -math.inf if declaration.minimum is None else declaration.minimum
    high = math.inf if declaration.maximum is None else declaration.maximum
    if not low <= value <= high:
        allowed = between(declaration.minimum, declaration.maximum, declaration.unit)
        raise InputError(brief(value), where=where, allowed=allowed)
