"""Wording of messages: values as a message shows them, what is allowed, and the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from acestep_flows.graph.language.document import Fields, Items, Scalar
from acestep_flows.stages.ports import PortType

MOST_NAMES = 24


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `name` is most likely a misspelling of."""
    close = difflib.get_close_matches(name[:100], list(allowed), n=1, cutoff=0.6)
    return close[0] if close else None


def unlike(what: str, name: str, allowed: Iterable[str]) -> str:
    """A sentence about a name that does not exist: `no stage 'vocod', nearest 'vocode'; allowed: mix, vocode`."""
    names = list(allowed)
    close = nearest(name, names)
    hint = f", nearest {close!r}" if close else ""
    return f"no {what} {clip(name)!r}{hint}; allowed: {listing(names)}"


def listing(names: Iterable[str]) -> str:
    """The names, separated by commas; a very long list is cut."""
    names = list(names)
    more = f", and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return (", ".join(names[:MOST_NAMES]) + more) or "none"


def clip(text: str, most: int = 60) -> str:
    """The text, cut to `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def show(value: Any) -> str:
    """A value as a message shows it, with what it is: `text 'fast'`, `int 3`, `a list of 2`, `null`."""
    if isinstance(value, Items):
        value = value.items
    elif isinstance(value, Fields):
        value = value.entries
    elif isinstance(value, Scalar):
        value = value.value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"bool {str(value).lower()}"
    if isinstance(value, str):
        return f"text {clip(value)!r}"
    if isinstance(value, (int, float)):
        return f"{type(value).__name__} {clip(brief(value))}"
    if isinstance(value, Mapping):
        return f"a map with {listing(clip(str(key)) for key in value)}" if value else "an empty map"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    kind = getattr(value, "kind", "")
    return f"a value of type {kind}" if isinstance(kind, str) and kind else f"a Python {type(value).__name__}"


def brief(value: Any) -> str:
    """A scalar without its type: `fast`, `3`, `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**60:
        return "a number of more than 60 digits"
    return str(value)


def between(minimum: Any, maximum: Any, unit: str = "") -> str:
    """A range in words: `1 to 200 s`, `at least 1`, `at most 5`; empty without bounds."""
    tail = f" {unit}" if unit else ""
    if minimum is not None and minimum == maximum:
        return f"{minimum}{tail}"
    if minimum is not None and maximum is not None:
        return f"{minimum} to {maximum}{tail}"
    if minimum is not None:
        return f"at least {minimum}{tail}"
    return f"at most {maximum}{tail}" if maximum is not None else ""


def allowed_by(schema: Mapping[str, Any], kind: PortType) -> str:
    """What a stage parameter accepts, from its JSON Schema."""
    if "anyOf" in schema:
        parts = [part for part in schema["anyOf"] if part.get("type") != "null"]
        schema = parts[0] if len(parts) == 1 else {}
    if "enum" in schema:
        return listing(brief(choice) for choice in schema["enum"])
    if "const" in schema:
        return brief(schema["const"])
    low = schema.get("minimum")
    if "exclusiveMinimum" in schema:
        return f"more than {schema['exclusiveMinimum']}" + (
            f", at most {schema['maximum']}" if "maximum" in schema else ""
        )
    if "exclusiveMaximum" in schema:
        floor = f"at least {low}, " if low is not None else ""
        return f"{floor}less than {schema['exclusiveMaximum']}"
    for least, most, what in (("minLength", "maxLength", "characters"), ("minItems", "maxItems", "elements")):
        if least in schema or most in schema:
            return between(schema.get(least), schema.get(most), what)
    return between(low, schema.get("maximum")) or str(kind)
