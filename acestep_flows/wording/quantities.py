"""Numbers, seconds, spans and yes or no, as people type them.

A form with one meaning is read (`1:30`, `20 s`, `+3`, full-width digits). A form with two meanings, or in the notation
of another country, is refused with the form to write (`12,5`: write 12.5). Nothing is guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from acestep_flows.errors import InputError
from acestep_flows.wording.phrases import clip

QUOTES = ('""', "''", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c", "\u00ab\u00bb", "``")
"""Pairs of quotes that may be left around a value."""

SPAN_FORMS = "start:end in seconds, such as 12:20.5, or 1:05-1:30, or 12: up to the end"
MOST_DIGITS = 400
"""A longer number is read as a float: turning a million digits into a whole number takes minutes."""

_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_MINUSES = re.compile(r"^[\u2010-\u2015\u2212]")
_DASHES = re.compile(r"\.\.+|-|[\u2010-\u2015\u2212]|\bto\b")
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{2}(?:\.\d*)?)")
_SHORT_CLOCK = re.compile(r"(\d{1,4}):(\d(?:\.\d*)?)")
_PARTS = re.compile(
    r"(?:(?P<hours>[\d.]+)\s*h(?:(?:ou)?rs?)?\s*)?"
    r"(?:(?P<minutes>[\d.]+)\s*m(?:in(?:ute)?s?)?\s*)?"
    r"(?:(?P<seconds>[\d.]+)\s*(?:s(?:ec(?:ond)?s?)?)?)?",
    re.IGNORECASE,
)
_MILLISECONDS = re.compile(r"([\d.]+)\s*(?:ms|msec|milliseconds?)", re.IGNORECASE)
_ONE_COMMA = re.compile(r"([+-]?)(\d+),(\d+)")
_GROUPS = re.compile(
    r"[+-]?\d{1,3}(?:(,)\d{3}(?:,\d{3})+|(['\u2019 ])\d{3}(?:\2\d{3})*|(\.)\d{3}(?:\.\d{3})+)(?:[.,]\d+)?"
)
_MIXED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+\.\d+|[+-]?\d{1,3}(?:\.\d{3})+,\d+")
_FRACTION = re.compile(r"(\d{1,9})/([1-9]\d{0,8})")
_ENDS = ("", "end", "null", "none")


def tidy(text: str) -> str:
    """`text` without blanks and quotes around it, with full-width signs as plain ones."""
    word = unicodedata.normalize("NFKC", text).strip()
    begin, end = 0, len(word)
    while end - begin > 1 and word[begin] + word[end - 1] in QUOTES:
        begin, end = begin + 1, end - 1
        while begin < end and word[begin].isspace():
            begin += 1
        while begin < end and word[end - 1].isspace():
            end -= 1
    return word[begin:end]


def read_number(text: str, where: str, *, whole: bool = False, unit: str = "", wanted: str = "") -> int | float:
    """A number. It may be followed by its unit; seconds may be written as a clock shows them.

    Args:
        text: `27`, `-3.5`, `1e-3`; for a unit of seconds also `20 s`, `1:30`, `1m30s`.
        where: what the number is for, in errors.
        whole: give an int where the text is one. Whether the number may have a fraction is for the caller to check.
        unit: what the number counts (`s`, `dB`).
        wanted: what is allowed, in words.

    Raises:
        InputError: it is no number, or can be read in two ways. The text says what to write.
    """
    word = typed = _MINUSES.sub("-", tidy(text))
    value = _plain(word, whole)
    if value is None and unit == "s":
        value = _clock(word)
    if value is None and unit and word.lower().endswith(unit.lower()):
        word = word[: -len(unit)].rstrip()
        value = _plain(word, whole)
    if value is None:
        word = typed if _MILLISECONDS.fullmatch(typed) else word
        wanted = wanted or ("a whole number" if whole else "a number")
        raise _not_a_number(clip(text.strip()), word, where, unit, wanted)
    return value


def read_seconds(text: str, where: str) -> float:
    """A point in time or a length, in seconds: `90`, `1:30`, `20 s`.

    Raises:
        InputError: it is none.
    """
    return float(read_number(text, where, unit="s"))


def read_span(text: str, where: str) -> list[float | None]:
    """Start and end in seconds; the end is None where it is left out.

    Args:
        text: `12:20.5`, `12-20.5`, `12,20.5`, `0:12-0:20.5`, `0:12:0:20.5`, `12:` or `12-end`.
        where: what the span is for, in errors.

    Raises:
        InputError: it is none, or can be read in two ways. The text says what to write.
    """
    word = tidy(text)
    start, end = _ends(word, where)
    try:
        return [
            read_seconds(start, where) if start else 0.0,
            None if end.lower() in _ENDS else read_seconds(end, where),
        ]
    except InputError:
        raise InputError(repr(clip(text.strip())), where=where, allowed=SPAN_FORMS) from None


def read_truth(text: str, where: str) -> bool:
    """True or false: `true`, `yes`, `on`, `1`, `false`, `no`, `off`, `0`, in any case.

    Raises:
        InputError: it is neither.
    """
    word = tidy(text).lower()
    if word not in _TRUTH:
        raise InputError(f"{clip(text)!r} is neither true nor false", where=where, allowed="true or false")
    return _TRUTH[word]


def is_null(text: str) -> bool:
    """Whether `text` says that there is no value: `null` or `none`."""
    return tidy(text).lower() in ("null", "none")


def typed_form(text: str, kind: str) -> str:
    """How a text is written where JSON or Python wants a number, span or truth: `90` for `1:30`. Empty if unknown.

    Args:
        kind: the kind of a port type: `int`, `float`, `seed`, `bool` or `span`.
    """
    try:
        if kind == "bool":
            return str(read_truth(text, "")).lower()
        if kind == "span":
            ends = ("null" if end is None else f"{end:.10g}" for end in read_span(text, ""))
            return f"[{', '.join(ends)}]"
        if kind in ("int", "float", "seed"):
            return f"{read_number(text, '', whole=kind != 'float', unit='s' if kind == 'float' else ''):.12g}"
    except (InputError, OverflowError):
        pass
    return ""


def _plain(word: str, whole: bool) -> int | float | None:
    """The number that Python reads in `word`."""
    try:
        return int(word) if whole and len(word) < MOST_DIGITS else float(word)
    except ValueError:
        pass
    try:
        return float(word)
    except ValueError:
        return None


def _clock(word: str) -> float | None:
    """Seconds as `1:30`, `1:02:03`, `1m30s` or `20 s`; None for anything else."""
    if clock := _CLOCK.fullmatch(word):
        hours, minutes, seconds = clock.groups()
        in_range = float(seconds) < 60 and (hours is None or int(minutes) < 60)
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds) if in_range else None
    parts = _PARTS.fullmatch(word)
    if parts is None or not any(parts.groups()):
        return None
    try:
        hours, minutes, seconds = (float(part or 0) for part in parts.group("hours", "minutes", "seconds"))
    except ValueError:  # two points
        return None
    return hours * 3600 + minutes * 60 + seconds


def _not_a_number(shown: str, word: str, where: str, unit: str, wanted: str) -> InputError:
    """The error about a word that is no number, with the form to write where one is meant."""
    if (one := _ONE_COMMA.fullmatch(word)) is not None:
        sign, before, after = one.groups()
        point = f"{sign}{before}.{after}"
        if len(after) == 3 and len(before) <= 3 and not before.startswith("0"):
            point, thousands = f"{float(point):g}", f"{sign}{before}{after}"
            return InputError(f"{shown!r} can be read as {point} or as {thousands}; write one of them", where=where)
        return InputError(f"{shown!r} is not a number; write {point}", where=where)
    if word.endswith("%") and (share := _plain(word[:-1], whole=False)) is not None:
        return InputError(f"{shown!r} has a percent sign; write {share / 100:g} or {share:g}", where=where)
    if form := _other_form(word, unit):
        return InputError(f"{shown!r} is not a number; write {form}", where=where)
    return InputError(f"{shown!r} is not a number", where=where, allowed=wanted)


def _other_form(word: str, unit: str) -> str:
    """The number that another notation means: digits in groups, fractions, milliseconds, decimal commas in times."""
    if _GROUPS.fullmatch(word) or _MIXED.fullmatch(word):
        decimal = max(word.rfind(","), word.rfind("."))
        has_fraction = _MIXED.fullmatch(word) or re.search(r"[ '\u2019][^.,]*[.,]\d+$", word)
        whole, fraction = (word[:decimal], word[decimal + 1 :]) if has_fraction else (word, "")
        return re.sub(r"[^\d+-]", "", whole) + (f".{fraction}" if fraction else "")
    if fraction_form := _FRACTION.fullmatch(word):
        return f"{int(fraction_form[1]) / int(fraction_form[2]):g}"
    if unit != "s":
        return ""
    if short := _MILLISECONDS.fullmatch(word):
        value = _plain(short[1], whole=False)
        return "" if value is None else f"{value / 1000:g}"
    if short := _SHORT_CLOCK.fullmatch(word):
        return f"{short[1]}:0{short[2]} or {int(short[1]) * 60 + float(short[2]):g}"
    with_point = word.replace(",", ".")
    return with_point if word.count(",") == 1 and _clock(with_point) is not None else ""


def _ends(word: str, where: str) -> tuple[str, str]:
    """The texts of start and end."""
    dashes = [part.strip() for part in _DASHES.split(word)]
    if len(dashes) == 2:
        return _sides(dashes, word, where)
    commas, colons = [part.strip() for part in word.split(",")], [part.strip() for part in word.split(":")]
    if len(commas) > 2 or (len(commas) > 1 and len(colons) > 1):
        raise _not_a_span(word, where)
    if len(commas) == 2:
        return commas[0], commas[1]
    if len(colons) == 3:
        a, b, c = colons
        if not c:
            raise InputError(f"{clip(word)!r} is not a span; write {a or 0}:{b:0>2}-end or {b or 0}-end", where=where)
        early, late = f"{a}:{b:0>2}", f"{b}:{c:0>2}"
        what = f"{clip(word)!r} can be read as {early} to {c} s or as {a} s to {late}"
        raise InputError(what, where=where, allowed=f"start-end, such as {early}-{c} or {a}-{late}")
    if len(colons) in (2, 4, 6):
        half = len(colons) // 2
        return ":".join(colons[:half]), ":".join(colons[half:])
    raise _not_a_span(word, where)


def _sides(sides: Sequence[str], word: str, where: str) -> tuple[str, str]:
    """Both sides of a dash. Without a start, the dash may be a minus."""
    if not sides[0] or any("," in side for side in sides):
        raise _not_a_span(word, where)
    return sides[0], sides[1]


def _not_a_span(word: str, where: str) -> InputError:
    """The error about a word that is no span, with the form to write where decimal commas are the fault."""
    decimal = re.fullmatch(r"(\d+),(\d+)\s*[-:,;]\s*(\d+),(\d+)", word)
    if decimal:
        return InputError(
            f"{clip(word)!r} is not a span; write {decimal[1]}.{decimal[2]}:{decimal[3]}.{decimal[4]}", where=where
        )
    return InputError(repr(clip(word)), where=where, allowed=SPAN_FORMS)
