"""What pydantic finds wrong with data, in the words of our own errors.

Every door that reads data of strangers uses this reader. What differs between doors is a `Vocabulary`.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from acestep_flows.wording.phrases import between, clip, counted, nearest, show

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

WANTED = {
    "string": "text",
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "iterable": "a list",
    "iteration": "a list",
    "dict": "a map",
    "mapping": "a map",
    "model": "a map",
    "dataclass": "a map",
    "none": "nothing",
    "path": "a path",
    "bytes": "bytes",
    "url": "a URL",
    "date": "a date",
    "datetime": "a date and time, such as 2026-01-31T12:00:00Z",
    "json": "JSON",
}
"""What is wanted, by the first word of pydantic's type of an error (`int_parsing`, `list_type`)."""


@dataclass(frozen=True)
class DataFault:
    """One thing wrong with data.

    Attributes:
        where: the field, as `loop.steps` or `processes[2].name`; empty for the whole.
        what: the problem, with the value found.
        allowed: what would be accepted; empty where `what` says it.
        name: the field's last name.
        of_value: the value is of the right type and wrong all the same.
    """

    where: str
    what: str
    allowed: str = ""
    name: str = ""
    of_value: bool = False

    def __str__(self) -> str:
        prefix = f"{self.where}: " if self.where else ""
        suffix = f" (allowed: {self.allowed})" if self.allowed else ""
        return f"{prefix}{self.what}{suffix}"


def place(loc: tuple[Any, ...]) -> str:
    """A path in data: `processes[2].name`."""
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def choices_of(expected: str) -> str:
    """Pydantic's list of choices, `'cpu', 'cuda' or 'mps'`, as a message has it: `cpu, cuda, mps`."""
    return expected.replace("'", "").replace(" or ", ", ")


def unknown_field(name: str, fields: list[str]) -> tuple[str, str]:
    """What is said about a field that does not exist, and what is allowed."""
    close = nearest(name, fields)
    return f"no such field{f', nearest {close!r}' if close else ''}", ", ".join(fields)


def shown(kind: str, value: Any) -> str:
    """The value found, for an error of this pydantic type."""
    return show(value)


@dataclass(frozen=True)
class Vocabulary:
    """The words of one door.

    Attributes:
        types: what is wanted, by the first word of pydantic's type of an error, where it is not as in files.
        bounds: what is wanted, by pydantic's type of an error, with the names of its context in braces.
        patterns: what a text may be, by the regular expression that its field declares.
        pattern: the same for all other expressions; `{pattern}` stands for the expression.
        other: what is said of types that are not known; None takes pydantic's words.
        place: the path of a field.
        shown: the value found, by pydantic's type of the error.
        choices: the choices, from pydantic's words.
        unknown: what is said of a field that does not exist, and what is allowed.
    """

    types: Mapping[str, str] = field(default_factory=dict)
    bounds: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    pattern: str = "text of the form {pattern}"
    other: str | None = None
    place: Callable[[tuple[Any, ...]], str] = place
    shown: Callable[[str, Any], str] = shown
    choices: Callable[[str], str] = choices_of
    unknown: Callable[[str, list[str]], tuple[str, str]] = unknown_field


PLAIN = Vocabulary()
"""The words for files and options."""


def data_faults(
    error: ValidationError, root: type[BaseModel] | None = None, *, secret: bool = False
) -> list[DataFault]:
    """Everything that a validation found, in order.

    Args:
        secret: leave out the values found.
        root: the model that the data was checked against; faults then name the fields that are near to a wrong one.
    """
    return [data_fault(detail, root) for detail in error.errors(include_url=False, include_input=not secret)]


def fault_line(error: ValidationError, root: type[BaseModel] | None = None) -> str:
    """Everything that a validation found, in one line."""
    return "; ".join(str(fault) for fault in data_faults(error, root))


def data_fault(detail: Mapping[str, Any], root: type[BaseModel] | None = None, words: Vocabulary = PLAIN) -> DataFault:
    """One entry of `ValidationError.errors()` in words; see `data_faults`."""
    kind, loc = str(detail["type"]), _without_tags(root, detail["loc"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        context = detail["ctx"]
        loc = (*loc, context["discriminator"].strip("'"))
        tag = context.get("tag")
        allowed = words.choices(context.get("expected_tags", ""))
        return DataFault(words.place(loc), "missing" if tag is None else show(tag), allowed, str(loc[-1]))
    where, name = words.place(loc), str(loc[-1]) if loc else ""
    if kind == "missing":
        return DataFault(where, "missing", name=name)
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        what, allowed = words.unknown(name, _fields(root, detail["loc"][:-1]))
        return DataFault(where, what, allowed, name)
    if kind in ("value_error", "assertion_error"):
        return DataFault(where, clip(own_words(detail["msg"]), 300), name=name, of_value=True)
    of_type = kind.endswith(("_type", "_parsing", "_unicode", "_from_float", "_sub"))
    return DataFault(where, _found(detail, words), wanted(detail, words), name, not of_type)


def _without_tags(kind: Any, loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """A place below `kind` without the tags that pydantic puts in for the members of unions."""
    kept: list[Any] = []
    for part in loc:
        member = _member(kind, part)
        if member is None:
            kept.append(part)
        kind = member or _below(kind, part)
    return tuple(kept)


def _member(kind: Any, tag: Any) -> type[BaseModel] | None:
    """The member of a union of several models that has this tag."""
    members = [one for one in _choices(kind) if hasattr(one, "model_fields")]
    tagged = (one for one in members if any(field.default == tag for field in one.model_fields.values()))
    return next(tagged, None) if len(members) > 1 else None


def _fields(kind: Any, loc: tuple[Any, ...]) -> list[str]:
    """The fields of the model at a path below `kind`; none where there is no model."""
    for part in loc:
        kind = _member(kind, part) or _below(kind, part)
    model = _model(kind)
    return list(model.model_fields) if model is not None else []


def _below(kind: Any, part: Any) -> Any:
    """The type of one part of data of a type."""
    model = _model(kind)
    if model is None:
        return (get_args(kind) or (None,))[-1]  # elements of a list, values of a map
    info = model.model_fields.get(str(part))
    return info.annotation if info is not None else None


def _model(kind: Any) -> type[BaseModel] | None:
    """The model in a type: itself, or what a union has beside None."""
    return next((one for one in _choices(kind) if hasattr(one, "model_fields")), None)


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def wanted(detail: Mapping[str, Any], words: Vocabulary = PLAIN) -> str:
    """What would be accepted in place of the value that an entry of `ValidationError.errors()` is about."""
    kind, given = str(detail["type"]), detail.get("ctx") or {}
    context = {name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in given.items()}
    bounds = {
        "greater_than": f"more than {context.get('gt')}",
        "greater_than_equal": between(context.get("ge"), None),
        "less_than": f"less than {context.get('lt')}",
        "less_than_equal": between(None, context.get("le")),
        "multiple_of": f"a multiple of {context.get('multiple_of')}",
    }
    if kind in words.bounds:
        return words.bounds[kind].format(**context)
    if kind in bounds:
        return bounds[kind]
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return words.patterns.get(pattern) or words.pattern.format(pattern=pattern)
    if kind.endswith(("too_short", "too_long")):
        noun = "character" if kind.startswith("string") else "byte" if kind.startswith("bytes") else "element"
        return counted(between(context.get("min_length"), context.get("max_length")), noun)
    if kind in ("literal_error", "enum"):
        return words.choices(str(context.get("expected", "")))
    if kind == "int_from_float":
        return "a whole number"
    first = kind.partition("_")[0]
    known = {**WANTED, **words.types}.get(first)
    return known or (own_words(detail["msg"]) if words.other is None else words.other)


def own_words(message: str) -> str:
    """A message of a check of ours, without what pydantic puts before it."""
    for prefix in ("Value error, ", "Assertion failed, ", "Input should be "):
        message = message.removeprefix(prefix)
    return message


def _found(detail: Mapping[str, Any], words: Vocabulary) -> str:
    """The value found; of a text or list that is too long or short, its length."""
    if "input" not in detail:
        return "not usable"
    value, kind = detail.get("input"), str(detail["type"])
    if kind.endswith(("too_short", "too_long")) and isinstance(value, (str, list, tuple, set, frozenset, dict)):
        return counted(str(len(value)), "character" if isinstance(value, str) else "element") if value else "empty"
    return words.shown(kind, value)
