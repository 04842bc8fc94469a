"""Reads one declaration: a graph input or a field of a record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from acestep_flows.errors import InputError
from acestep_flows.graph.language.document import Fields, Items, Node, Scalar, SourcePosition, plain
from acestep_flows.graph.language.field_reader import FieldReader
from acestep_flows.graph.language.types import Declaration, accept, kinds, parse_type
from acestep_flows.graph.language.wording import clip, show
from acestep_flows.stages.ports import PortType

KEYS = (
    "type", "fields", "default", "minimum", "maximum", "shortest", "longest", "choices", "unit", "at_most", "within",
    "lengthens", "advanced", "similar", "description",
)  # fmt: skip
_OF_INPUTS = ("at_most", "within", "lengthens", "advanced", "similar")
"""Keys that only an input has, and no field of a record."""
_NUMBERS = ("int", "float", "seed")
_COUNTED = ("text", "list")


def declare(reader: FieldReader, name: str, place: SourcePosition, node: Node, what: str) -> Declaration:
    """The declaration under `name`. One that cannot be read becomes `any`, so that no other rule reports it again."""
    unknown = Declaration(name, PortType("any"), required=False, place=place)
    if not isinstance(node, Fields):
        reader.problem("not-a-map", f"{what} takes a map such as {{type: text}}; found {show(plain(node))}", node.place)
        return unknown
    reader.known_keys(node, KEYS, what)
    words = reader.text(node, "type")
    if words is None:
        if "type" not in node.entries:
            reader.problem("missing-key", f"{what} lacks type; allowed: {', '.join(kinds())}, list of ...", place)
        return unknown
    kind = parse_type(words)
    if isinstance(kind, str):
        reader.problem("bad-type", f"{what} has {kind}", node.entries["type"].place)
        return unknown
    fields = _fields(reader, node, kind, what)
    if innermost(kind).kind == "record" and not fields:
        reader.problem("bad-type", f"{what} is a record without fields:", node.place)
        return unknown
    kind = _with_fields(kind, fields)
    declaration = Declaration(
        name,
        kind,
        minimum=_bound(reader, node, "minimum", kind, what),
        maximum=_bound(reader, node, "maximum", kind, what),
        shortest=_count(reader, node, "shortest", kind, what),
        longest=_count(reader, node, "longest", kind, what),
        unit=reader.text(node, "unit") or "",
        at_most=_named(reader, node, "at_most", kind, ("int", "float"), what),
        within=_named(reader, node, "within", kind, ("span",), what),
        lengthens=_named(reader, node, "lengthens", kind, ("int", "float"), what),
        advanced=reader.flag(node, "advanced", what),
        similar=_words(reader, node, what),
        description=reader.text(node, "description") or "",
        fields=fields,
        place=place,
    )
    _ordered(reader, node, declaration, what)
    return _default(reader, node, _choices(reader, node, declaration, what), what)


def _fields(reader: FieldReader, node: Fields, kind: PortType, what: str) -> dict[str, Declaration]:
    is_record = innermost(kind).kind == "record"
    if "fields" in node.entries and not is_record:
        reader.problem(
            "bad-type", f"{what} has fields:, which only a record has; found type {kind}", node.keys["fields"]
        )
        return {}
    fields = reader.map(node, "fields", "") if is_record else Fields()
    for name, place in fields.keys.items():
        reader.name(name, place, "field")
        field = fields.entries[name]
        for key in _OF_INPUTS if isinstance(field, Fields) else ():
            if key in field.entries:
                message = f"{what}.{clip(name)} has {key}:, which only an input has, and no field"
                reader.problem("bad-type", message, field.keys[key])
    return {
        name: declare(reader, name, fields.keys[name], field, f"{what}.{clip(name)}")
        for name, field in fields.entries.items()
    }


def _named(reader: FieldReader, node: Fields, key: str, kind: PortType, kinds_with: tuple[str, ...], what: str) -> str:
    """The name of another input under `key`; the checker says whether there is one."""
    name = reader.text(node, key) or ""
    found = innermost(kind) if key == "within" else kind
    if name and found.kind not in kinds_with:
        message = f"{what} has {key}:, which only {' and '.join(kinds_with)} have; found type {kind}"
        reader.problem("bad-type", message, node.keys[key])
        return ""
    return name


def _words(reader: FieldReader, node: Fields, what: str) -> tuple[str, ...]:
    similar: Any = node.entries.get("similar")
    if similar is None:
        return ()
    if isinstance(similar, Items) and all(isinstance(plain(item), str) for item in similar.items):
        return tuple(plain(item) for item in similar.items)
    reader.problem("bad-default", f"{what}: similar takes a list of words; found {show(plain(similar))}", similar.place)
    return ()


def innermost(kind: PortType) -> PortType:
    """The type of the elements, however deep the lists."""
    while kind.kind == "list" and kind.item is not None:
        kind = kind.item
    return kind


def _with_fields(kind: PortType, fields: dict[str, Declaration]) -> PortType:
    if kind.kind == "list" and kind.item is not None:
        return replace(kind, item=_with_fields(kind.item, fields))
    if kind.kind == "record":
        return replace(kind, fields=tuple((name, field.type) for name, field in fields.items()))
    return kind


def _bound(reader: FieldReader, node: Fields, key: str, kind: PortType, what: str) -> float | None:
    bound: Any = node.entries.get(key)
    if bound is None:
        return None
    if innermost(kind).kind not in _NUMBERS:
        message = f"{what} has {key}:, which only numbers have ({', '.join(_NUMBERS)}); found type {kind}"
        reader.problem("bad-type", message, node.keys[key])
        return None
    if not isinstance(bound, Scalar) or isinstance(bound.value, bool) or not isinstance(bound.value, (int, float)):
        reader.problem("bad-default", f"{what}: {key} takes a number; found {show(plain(bound))}", bound.place)
        return None
    return bound.value


def _count(reader: FieldReader, node: Fields, key: str, kind: PortType, what: str) -> int | None:
    count: Any = node.entries.get(key)
    if count is None:
        return None
    if kind.kind not in _COUNTED:
        message = f"{what} has {key}:, which only texts and lists have; found type {kind}"
        reader.problem("bad-type", message, node.keys[key])
        return None
    if not isinstance(count, Scalar) or type(count.value) is not int or count.value < 0:
        message = f"{what}: {key} takes a whole number, 0 or more; found {show(plain(count))}"
        reader.problem("bad-default", message, count.place)
        return None
    return count.value


def _ordered(reader: FieldReader, node: Fields, declaration: Declaration, what: str) -> None:
    for low, high in (("minimum", "maximum"), ("shortest", "longest")):
        least, most = getattr(declaration, low), getattr(declaration, high)
        if least is not None and most is not None and least > most:
            message = f"{what}: {low} {least} is above {high} {most}"
            reader.problem("bad-default", message, node.entries[low].place)


def _choices(reader: FieldReader, node: Fields, declaration: Declaration, what: str) -> Declaration:
    choices: Any = node.entries.get("choices")
    if choices is None:
        return declaration
    kind = innermost(declaration.type)
    if kind.kind not in ("text", *_NUMBERS):
        message = f"{what} has choices:, which only text and numbers have; found type {declaration.type}"
        reader.problem("bad-type", message, node.keys["choices"])
        return declaration
    if not isinstance(choices, Items) or not choices.items:
        message = f"{what}: choices takes a list of values; found {show(plain(choices))}"
        reader.problem("bad-default", message, choices.place)
        return declaration
    element = replace(declaration, type=kind, shortest=None, longest=None)
    accepted = []
    for choice in choices.items:
        try:
            accepted.append(accept(element, plain(choice), "choice", lambda _: 0))
        except InputError as error:
            reader.problem("bad-default", f"{what}: {error}", choice.place)
    return replace(declaration, choices=tuple(accepted))


def _default(reader: FieldReader, node: Fields, declaration: Declaration, what: str) -> Declaration:
    default: Any = node.entries.get("default")
    if default is None:
        return declaration
    value = plain(default)
    if value is None:
        return replace(declaration, type=replace(declaration.type, optional=True), required=False)
    kind = declaration.type.kind
    if declaration.type.value_kinds and kind != "span":
        message = f"{what}: a default of type {kind} cannot be written down; allowed: null, which makes it optional"
        reader.problem("bad-default", message, default.place)
        return replace(declaration, required=False)
    try:
        accept(declaration, value, "default", lambda _: 0)
    except InputError as error:
        reader.problem("bad-default", f"{what}: {error}", default.place)
        return replace(declaration, required=False)
    return replace(declaration, default=value, required=False)
