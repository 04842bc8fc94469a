"""What is wrong with a pool file, in words."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from acestep_flows.graph.language.wording import brief, clip, show, unlike


def problem_lines(error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    """Each problem of a file as `place: what is wrong`.

    Args:
        error: what pydantic found.
        root: the model that the file was checked against.
    """
    for problem in error.errors(include_url=False):
        place = [part for part in problem["loc"] if part != "[key]"]
        said = _said(problem, root, place)
        yield f"{'.'.join(map(str, place))}: {said}" if place else said


def _said(problem: Any, root: type[BaseModel], place: Sequence[int | str]) -> str:
    kind, message = problem["type"], str(problem["msg"])
    if kind == "extra_forbidden":
        section = _section(root, place[:-1])
        return unlike("setting", str(place[-1]), section.model_fields if section is not None else ())
    if kind == "missing":
        return "missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind == "too_short":
        return "must name at least one"
    return f"{_shown(problem['input'])} {_must(message)}"


_WORDS = {
    r"Input should be": "must be",
    r"String should match pattern.*": "must be lower-case letters, digits and dashes, a letter first, at most 40",
    r"String should": "must",
    r"a valid integer\b.*": "a whole number",
    r"a valid number\b.*": "a number",
    r"a valid dictionary or (instance|object).*": "a map of settings",
    r"a valid dictionary": "a map",
    r"a valid boolean\b.*": "true or false",
    r"a valid string": "text",
    r"a valid tuple": "a list",
}
"""Patterns in pydantic's messages, and the words of this project."""


def _must(message: str) -> str:
    for pattern, words in _WORDS.items():
        message = re.sub(pattern, words, message)
    return message


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(clip(value))
    return clip(brief(value)) if isinstance(value, (bool, int, float)) else show(value)


def _section(kind: Any, place: Sequence[int | str]) -> type[BaseModel] | None:
    """The model of the section at a place of a file; None if there is none."""
    for part in place:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif (model := _model(kind)) is not None and part in model.model_fields:
            kind = model.model_fields[str(part)].annotation
        else:
            return None
    return _model(kind)


def _model(kind: Any) -> type[BaseModel] | None:
    """The model in a type: itself, or what a union has beside None."""
    choices = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return next((one for one in choices if isinstance(one, type) and issubclass(one, BaseModel)), None)
