"""Values as clients of other servers write them: numbers and booleans also as text, choices in any case.

A parser takes what JSON or a form has, and returns the value. It raises ValueError with what is allowed. An empty text
and null are no values: they count as not sent (`is_absent`) and reach no parser.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from acestep_flows.values import MAX_SEED

Parse = Callable[[Any], Any]

TRUE, FALSE = ("true", "1", "yes", "on", "y", "t"), ("false", "0", "no", "off", "n", "f")
LONGEST_TEXT = 100_000
MOST_SEEDS = 64


def is_absent(value: Any) -> bool:
    """Whether a value counts as not sent."""
    return value is None or (isinstance(value, str) and not value.strip())


def text(longest: int = LONGEST_TEXT) -> Parse:
    """Text, as it is. Numbers are taken as their digits."""

    def parse(value: Any) -> str:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = format(value)
        if not isinstance(value, str) or len(value) > longest:
            raise ValueError(f"text of at most {longest} characters")
        return value

    return parse


def number(lowest: float = -math.inf, highest: float = math.inf) -> Parse:
    """A finite number between bounds, both included; also as text."""

    def parse(value: Any) -> float:
        found = _float(value)
        if found is None or not lowest <= found <= highest:
            raise ValueError(f"a number{_bounds(lowest, highest)}")
        return found

    return parse


def integer(lowest: int | None = None, highest: int | None = None) -> Parse:
    """A whole number between bounds; also as text, and as `7.0`."""
    low, high = (-math.inf if lowest is None else lowest), (math.inf if highest is None else highest)

    def parse(value: Any) -> int:
        found = _int(value)
        if found is None or not low <= found <= high:
            raise ValueError(f"a whole number{_bounds(low, high)}")
        return found

    return parse


def boolean() -> Parse:
    """True or false; also as the texts and numbers that mean them."""

    def parse(value: Any) -> bool:
        word = format(value).strip().lower() if isinstance(value, (bool, int, float, str)) else ""
        word = word.removesuffix(".0")
        if word not in (*TRUE, *FALSE):
            raise ValueError("true or false")
        return word in TRUE

    return parse


def choice(names: Sequence[str] | Mapping[str, Any]) -> Parse:
    """One of some names, in any case. A mapping says what each becomes."""
    meanings = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
    by_word = {name.lower(): meaning for name, meaning in meanings.items()}

    def parse(value: Any) -> Any:
        word = value.strip().lower() if isinstance(value, str) else None
        if word not in by_word:
            raise ValueError(", ".join(meanings))
        return by_word[word]

    return parse


def seeds(most: int = MOST_SEEDS) -> Parse:
    """Seeds, as a list: 7, "7", "1,2", [1, 2], "[42]", "None". Those below 0 are drawn, and an empty list draws one."""

    def parse(value: Any) -> list[int | None]:
        found = [_int(part) for part in _items(value)]
        if None in found or len(found) > most or any(seed > MAX_SEED for seed in found if seed is not None):
            raise ValueError(f"whole numbers up to {MAX_SEED}, at most {most}; below 0 draws one")
        return [seed if seed is not None and seed >= 0 else None for seed in found]

    return parse


def integers(lowest: int, highest: int, most: int) -> Parse:
    """A list of whole numbers: [1, 2], "1,2", "[1, 2]"."""

    def parse(value: Any) -> list[int]:
        found = [_int(part) for part in _items(value)]
        if len(found) > most or any(part is None or not lowest <= part <= highest for part in found):
            raise ValueError(f"at most {most} whole numbers{_bounds(lowest, highest)}")
        return [part for part in found if part is not None]

    return parse


def anything() -> Parse:
    """Any value, as it is."""
    return lambda value: value


def _items(value: Any) -> list[Any]:
    """The parts of a list in any of its forms."""
    if isinstance(value, str):
        word = value.strip()
        if word.lower() in ("", "none", "null", "[]"):
            return []
        return [part.strip().strip("'\"") for part in word.removeprefix("[").removesuffix("]").split(",")]
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _int(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip()
        if word.lstrip("+-").isascii() and word.lstrip("+-").isdigit() and len(word) < 40:
            return int(word)
    found = _float(value)
    return int(found) if found is not None and found.is_integer() else None


def _bounds(lowest: float, highest: float) -> str:
    if math.isinf(lowest) and math.isinf(highest):
        return ""
    if math.isinf(highest):
        return f" from {lowest:g}"
    if math.isinf(lowest):
        return f" up to {highest:g}"
    return f" from {lowest:g} to {highest:g}"


def read_json(content: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] = dict) -> Any:
    """JSON whose numbers are finite and whose texts can be encoded, so that answers may have them too.

    Args:
        pairs: makes an object of its members.

    Raises:
        ValueError: it is not that.
        RecursionError: it is too deep.
    """
    found = json.loads(content, object_pairs_hook=pairs, parse_constant=_finite, parse_float=_finite)
    json.dumps(found, ensure_ascii=False).encode()  # refuses halves of characters
    return found


def _finite(text: str) -> float:
    if math.isfinite(number := float(text)):
        return number
    raise ValueError(f"{text} is not a number of JSON")


def json_object(value: Any) -> dict[str, Any]:
    """An object, also as JSON text.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, str):
        try:
            value = read_json(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise ValueError("an object, or its JSON as text")
    return value
