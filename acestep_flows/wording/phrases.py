"""Phrases of messages: values as a message shows them, ranges, and the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from acestep_flows.errors import InputError, listing

__all__ = ["allowing", "between", "brief", "clip", "counted", "listing", "nearest", "no_such", "show", "unlike"]

MOST_COMPARED = 1000
"""Names that a wrong one is compared with. Each comparison takes some ten microseconds."""


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name that `name` is most likely a misspelling of: first one of the same letters in another order."""
    word = name[:100]
    close = difflib.get_close_matches(word, list(islice(allowed, MOST_COMPARED)), n=3, cutoff=0.6)
    return next((one for one in close if sorted(one) == sorted(word)), close[0]) if close else None


def unlike(what: str, name: str, allowed: Iterable[str]) -> str:
    """A sentence about a name that does not exist: `no stage 'vocod', nearest 'vocode'; allowed: mix, vocode`."""
    return f"{no_such(what, name, names := list(allowed))}; allowed: {listing(names)}"


def no_such(what: str, name: str, allowed: Iterable[str]) -> str:
    """The first half of `unlike`, for errors that say what is allowed on their own."""
    close = nearest(name, allowed)
    hint = f", nearest {close!r}" if close else ""
    return f"no {what} {clip(name)!r}{hint}"


def allowing(error: InputError, names: Iterable[str]) -> InputError:
    """The error, with all names that are allowed; its message says in words of its own which."""
    error.allowed = ", ".join(names) or "none"
    return error


def clip(text: str, most: int = 60) -> str:
    """The text, cut to `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def show(value: Any) -> str:
    """Plain data as a message shows it: `text 'fast'`, `3`, `true`, `a list of 2`, `null`."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"text {clip(value)!r}"
    if isinstance(value, (int, float)):
        return clip(brief(value))
    if isinstance(value, Mapping):
        return f"a map with {listing(clip(str(key)) for key in value)}" if value else "an empty map"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    kind = getattr(value, "kind", "")
    return f"a value of type {kind}" if isinstance(kind, str) and kind else f"a Python {type(value).__name__}"


def brief(value: Any) -> str:
    """A scalar as it is written: `fast`, `3`, `true`."""
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


def counted(number: str, noun: str) -> str:
    """A number or a range of numbers, and what it counts: `at least 1 character`, `1 to 5 characters`."""
    return f"{number} {noun}" if number.rsplit(maxsplit=1)[-1] == "1" else f"{number} {noun}s"
