"""What is wrong with a pool file, in words."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from acestep_flows.stages.registry import stages
from acestep_flows.wording.faults import Vocabulary, data_fault
from acestep_flows.wording.phrases import brief, clip, show, unlike

KEY = "[key]"
"""Last part of pydantic's path of a wrong key of a map."""


def problem_lines(error: ValidationError, root: type[BaseModel]) -> Iterator[str]:
    """Each problem of a file as `place: what is wrong`.

    Args:
        error: what pydantic found.
        root: the model that the file was checked against.
    """
    for detail in error.errors(include_url=False):
        fault = data_fault(detail, root, WORDS)
        said = f"{fault.what} must be {fault.allowed}" if fault.allowed else fault.what
        if detail["type"] == "too_short":
            said = "must name at least one"
        yield f"{fault.where}: {said}" if fault.where else said


def _place(loc: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in loc if part != KEY)


def _shown(kind: str, value: Any) -> str:
    if isinstance(value, str):
        return repr(clip(value))
    return clip(brief(value)) if isinstance(value, (bool, int, float)) else show(value)


def _unknown(name: str, settings: list[str]) -> tuple[str, str]:
    return unlike("setting", name, settings), ""


WORDS = Vocabulary(
    types={"model": "a map of settings"},
    bounds={
        "greater_than": "greater than {gt}",
        "greater_than_equal": "greater than or equal to {ge}",
        "less_than": "less than {lt}",
        "less_than_equal": "less than or equal to {le}",
    },
    pattern="lower-case letters, digits and dashes, a letter first, at most 40",
    place=_place,
    shown=_shown,
    choices=str,
    unknown=_unknown,
)


def misplaced(processes: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """What is wrong with the placement of stages, by process."""
    known = stages()
    placed = Counter(stage for names in processes.values() for stage in names)
    for stage, count in placed.items():
        if stage not in known:
            near = difflib.get_close_matches(stage, known, 1)
            yield f"no stage {stage!r}" + (f", did you mean {near[0]!r}?" if near else "")
        elif count > 1:
            owners = [name for name, names in processes.items() if stage in names]
            yield f"stage {stage} has {count} places ({', '.join(owners)}), it needs one"
    if missing := [stage for stage in known if stage not in placed]:
        yield f"no place for {', '.join(missing)}"
