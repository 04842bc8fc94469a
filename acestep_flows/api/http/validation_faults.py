"""Says what pydantic found wrong in the words of this project: the field, what it holds, and what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from acestep_flows.errors import InputError
from acestep_flows.graph.language.wording import brief, clip, listing, nearest, show

REFUSED = "refused"
"""Type of the errors that `refused` makes."""

PARTS_OF_REQUESTS = frozenset({"body", "query", "path", "header", "cookie"})
"""First element of FastAPI's locations."""

INPUTS = "inputs"
"""Field of bodies whose fields are the inputs of a graph."""

UNION_MEMBERS = frozenset({"str", "int", "float", "bool", "list", "dict", "none"})
"""Elements of locations that name a member of a union, not a field."""

ALLOWED_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a number",
    "bool": "true or false",
    "string": "text",
    "dict": "a JSON object",
    "mapping": "a JSON object",
    "model": "a JSON object",
    "list": "a list",
    "tuple": "a list",
    "none": "null",
    "datetime": "a time in ISO 8601, such as 2026-03-01T12:00:00Z",
    "date": "a date, such as 2026-03-01",
}
"""What is allowed, by the first word of the type of pydantic's error."""

BOUNDS = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}


def input_errors(details: Iterable[Mapping[str, Any]], patterns: Mapping[str, str] | None = None) -> list[InputError]:
    """The errors of `ValidationError.errors()`, one for each field.

    Args:
        patterns: what a text may be, in words, by the regular expression that the field declares.
    """
    by_field: dict[str, list[InputError]] = {}
    for detail in details:
        error = _input_error(detail, patterns or {})
        by_field.setdefault(error.where, []).append(error)
    return [_of_one_field(errors) for errors in by_field.values()]


def refused(what: str, allowed: str, field: str = "") -> PydanticCustomError:
    """An error that a validator raises in words of its own.

    Args:
        field: a field of the object that is validated; empty for all of it.
    """
    return PydanticCustomError(REFUSED, "refused", {"what": what, "allowed": allowed, "field": field})


def unknown_field(name: str, fields: Iterable[str]) -> PydanticCustomError:
    """The error for a field that does not exist."""
    names = list(fields)
    return refused("no such field" + _suggestion(name, names), listing(names), name)


def _input_error(detail: Mapping[str, Any], patterns: Mapping[str, str]) -> InputError:
    kind, context, value = str(detail["type"]), detail.get("ctx") or {}, detail.get("input")
    field = _field(detail["loc"])
    if kind == REFUSED:
        above = "" if field == INPUTS else field  # inputs are called by the names that their graph gives them
        where = ".".join(filter(None, (above, clip(context["field"])))) or field
        return InputError(context["what"], where=where, allowed=context["allowed"])
    if kind == "extra_forbidden":
        return InputError("no such field", where=field)
    if kind == "missing":
        return InputError("missing", where=field or "body", allowed="" if field else "a JSON object")
    if kind in ("literal_error", "enum"):
        choices = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return InputError(show(value) + _suggestion(value, choices), where=field, allowed=listing(choices))
    if kind == "string_pattern_mismatch":
        allowed = patterns.get(str(context.get("pattern")), "")
        return InputError(show(value) if allowed else "not of the right form", where=field, allowed=allowed)
    if kind in ("value_error", "assertion_error"):
        return InputError(str(context.get("error", "not usable")), where=field)
    if bounds := [f"{words} {context[name]:g}" for name, words in BOUNDS.items() if name in context]:
        return InputError(clip(brief(value)), where=field, allowed=" and ".join(bounds))
    if "max_length" in context or "min_length" in context:
        return InputError(_length_words(value), where=field, allowed=_allowed_length(context, value))
    allowed = ALLOWED_TYPES.get(kind.partition("_")[0], "")
    return InputError(show(value) if allowed else "not usable", where=field or "body", allowed=allowed)


def _suggestion(value: Any, allowed: Iterable[str]) -> str:
    close = nearest(value, allowed) if isinstance(value, str) else None
    return f"; did you mean {close!r}?" if close else ""


def _field(location: Sequence[Any]) -> str:
    """The path of a field, such as `webhook.url`, without the part of the request and the members of unions."""
    parts = [str(part) for part in location]
    if parts and parts[0] in PARTS_OF_REQUESTS:
        parts = parts[1:]
    return ".".join(clip(part) for part in parts if "[" not in part and part not in UNION_MEMBERS)


def _of_one_field(errors: Sequence[InputError]) -> InputError:
    """One error for a field. The members of a union each have theirs: the one of the member that the value is meant
    for, or else all types together."""
    types = set(ALLOWED_TYPES.values())
    meant = [error for error in errors if error.allowed not in types]
    if meant or len(errors) == 1:
        return (meant or errors)[0]
    allowed = " or ".join(dict.fromkeys(error.allowed for error in errors))
    return InputError(errors[0].what, where=errors[0].where, allowed=allowed)


def _unit(value: Any) -> str:
    return "characters" if isinstance(value, str) else "entries"


def _length_words(value: Any) -> str:
    return f"{len(value)} {_unit(value)}" if hasattr(value, "__len__") and len(value) else "empty"


def _allowed_length(context: Mapping[str, Any], value: Any) -> str:
    if "max_length" in context:
        return f"at most {context['max_length']} {_unit(value)}"
    least = context["min_length"]
    unit = _unit(value) if least != 1 else {"characters": "character", "entries": "entry"}[_unit(value)]
    return f"at least {least} {unit}"
