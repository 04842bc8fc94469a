"""Says what pydantic found wrong in the words of this project: the field, what it holds, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import PydanticCustomError

from acestep_flows.errors import Allowed, InputError
from acestep_flows.wording.faults import WANTED, Vocabulary, data_fault
from acestep_flows.wording.phrases import brief, clip, nearest, show

REFUSED = "refused"
"""Type of the errors that `refused` makes."""

PARTS_OF_REQUESTS = frozenset({"body", "query", "path", "header", "cookie"})
"""First element of FastAPI's locations."""

INPUTS = "inputs"
"""Field of bodies whose fields are the inputs of a graph."""

UNION_MEMBERS = frozenset({"str", "int", "float", "bool", "list", "dict", "none"})
"""Elements of locations that name a member of a union, not a field."""

BODY = "body"
"""In place of a field: the whole body."""

SAID_ALONE = frozenset({"extra_forbidden", "value_error", "assertion_error"})
"""Types of errors that say what is wrong, and nothing of what is allowed."""


def input_errors(details: Iterable[Mapping[str, Any]], patterns: Mapping[str, str] | None = None) -> list[InputError]:
    """The errors of `ValidationError.errors()`, one for each field.

    Args:
        patterns: what a text may be, in words, by the regular expression that the field declares.
    """
    words = replace(WORDS, patterns=patterns or {})
    by_field: dict[str, list[InputError]] = {}
    for detail in details:
        error = _input_error(detail, words)
        by_field.setdefault(error.where, []).append(error)
    return [_of_one_field(errors) for errors in by_field.values()]


def refused(what: str, allowed: Allowed, field: str = "") -> PydanticCustomError:
    """An error that a validator raises in words of its own.

    Args:
        field: a field of the object that is validated; empty for all of it.
    """
    return PydanticCustomError(REFUSED, "{what}", {"what": what, "allowed": allowed, "field": field})


def unknown_field(name: str, fields: Iterable[str]) -> PydanticCustomError:
    """The error for a field that does not exist."""
    names = list(fields)
    hint = _suggestion(name, names)
    if not hint and INPUTS in names:
        hint = f"; inputs of the graph stand in {INPUTS!r}"
    return refused("no such field" + hint, names, name)


def _input_error(detail: Mapping[str, Any], words: Vocabulary) -> InputError:
    kind, context = str(detail["type"]), detail.get("ctx") or {}
    field = _field(detail["loc"])
    if kind == REFUSED:
        above = "" if field == INPUTS else field  # inputs are called by the names that their graph gives them
        where = ".".join(filter(None, (above, clip(context["field"])))) or field
        return InputError(context["what"], where=where, allowed=context["allowed"])
    fault = data_fault(detail, words=words)
    if kind == "missing":
        return InputError(fault.what, where=field or BODY, allowed="" if field else words.types["model"])
    if not fault.allowed and kind not in SAID_ALONE:
        return InputError("not usable", where=field or BODY)
    choices = fault.allowed.split(", ") if kind in ("literal_error", "enum") else ()
    return InputError(
        fault.what + _suggestion(detail.get("input"), choices), where=field or BODY, allowed=fault.allowed
    )


def _shown(kind: str, value: Any) -> str:
    """A value that is out of bounds is a number, also where a query has it as text."""
    return clip(brief(value)) if kind.startswith(("greater_than", "less_than")) else show(value)


WORDS = Vocabulary(
    types={
        "finite": "a number",
        "dict": "a JSON object",
        "mapping": "a JSON object",
        "model": "a JSON object",
        "none": "null",
        "datetime": "a time in ISO 8601, such as 2026-03-01T12:00:00Z",
        "date": "a date, such as 2026-03-01",
    },
    pattern="",
    other="",
    shown=_shown,
)
"""The words of HTTP: data is JSON."""


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
    types = {*WANTED.values(), *WORDS.types.values()}
    meant = [error for error in errors if error.allowed not in types]
    if meant or len(errors) == 1:
        return (meant or errors)[0]
    allowed = " or ".join(dict.fromkeys(error.allowed for error in errors))
    return InputError(errors[0].what, where=errors[0].where, allowed=allowed)
