"""What somebody may have meant who names an input that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from acestep_flows.graph.language.types import Declaration
from acestep_flows.graph.language.wording import clip, listing, nearest
from acestep_flows.values import Value

PARTS = frozenset(("style", "genre", "mood", "bpm", "tempo", "key"))
"""Similar words that are a part of what the input says: a mood stands among the tags."""


def unknown_input(
    name: str,
    declared: Mapping[str, Declaration],
    value: Any = None,
    more: Iterable[str] = (),
    *,
    listed: bool = True,
) -> str:
    """A sentence about an input that does not exist: what may have been meant, and the inputs there are.

    Args:
        value: what was given; where it is music or the like, the only input of its type is meant.
        more: further names that are allowed.
        listed: end with the inputs there are. Of several such sentences only the last needs them.
    """
    what = f"no input {clip(name)!r}{_meant(name, declared, value, more)}"
    if not listed:
        return what
    common = [one.name for one in declared.values() if not one.advanced]
    advanced = len(declared) - len(common)
    rest = f", and {advanced} advanced ones" if advanced else ""
    return f"{what}; allowed: {listing([*common, *more])}{rest}"


def _meant(name: str, declared: Mapping[str, Declaration], value: Any, more: Iterable[str]) -> str:
    close = nearest(name, [*declared, *more])
    meant = by_meaning(name, declared) or ("" if close else _of_its_type(value, declared))
    if meant:
        return f", perhaps {_described_for(name, declared[meant])}"
    return f", nearest {close!r}" if close else ""


def by_meaning(name: str, declared: Mapping[str, Declaration]) -> str:
    """The input that has `name` among its similar words; empty where none has."""
    word = name.strip().lower().replace("-", "_")
    return next((one.name for one in declared.values() if word in one.similar), "")


def suggestion(declared: Mapping[str, Declaration], name: str) -> str:
    """The input that is meant by `name`, with what it is; empty where no similar word tells."""
    meant = by_meaning(name, declared)
    return _described_for(name, declared[meant]) if meant else ""


def _described_for(name: str, declared: Declaration) -> str:
    word = name.strip().lower()
    return f"{declared.name}: the {word} is among its words" if word in PARTS else described(declared)


def described(declared: Declaration) -> str:
    """An input with what it is: `right: Seconds to add after`."""
    description = re.split("[.;,]", declared.description, maxsplit=1)[0]
    return f"{declared.name}: {description}" if description else declared.name


def _of_its_type(value: Any, declared: Mapping[str, Declaration]) -> str:
    if not isinstance(value, Value):
        return ""
    fitting = [one.name for one in declared.values() if value.kind in one.type.value_kinds]
    return fitting[0] if len(fitting) == 1 else ""
