"""Lyrics as people write them, as the lines that are tokenised: characters in one form, tags on lines of their own.

Only "corrected" lyrics are read this way; "upstream" splits at line feeds and changes nothing (spec 03 section 2).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field

from acestep_flows.text.structure_tags import STRUCTURE, is_spoken_name, structure_tag

_BREAKS = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]"
)
_HAN_OR_HANGUL = re.compile(
    "[\u1100-\u11ff\u2e80-\u2fdf\u3130-\u318f\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff]"
)

_STAMP = re.compile(r"\[(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)\]\s*")
_WORD_STAMP = re.compile(r"<\d{1,3}:\d{1,2}(?:[.:]\d{1,3})?>\s?")
_FILE_TAG = re.compile(r"\[(?:ar|ti|al|au|by|re|ve|offset|length|id|la|tool)\s*:[^\]]*\]", re.IGNORECASE)
_BRACKETED = re.compile(r"\[([^\[\]]+)\]\s*:?\s*")
_DECORATED = re.compile(
    r"(?:[(（](?P<round>[^()（）]+)[)）]|\*\*(?P<bold>[^*]+)\*\*|#{1,6}\s+(?P<heading>.+)|(?P<colon>[^:：]+)[:：])"
)


@dataclass(frozen=True)
class LyricLine:
    """One line to tokenise.

    Attributes:
        number: the line of the user's text it comes from, counted from 1.
        text: the line, without blanks at its ends.
        is_tag: the line is a structure tag of the model, such as "[verse]", and nothing else.
        at: its time stamp in seconds, where the lyrics have such stamps (LRC).
    """

    number: int
    text: str
    is_tag: bool = False
    at: float | None = None


@dataclass
class LyricLines:
    """The lines of a song, and what was read in another way than it was written."""

    lines: list[LyricLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def verbatim(cls, lyrics: str) -> LyricLines:
        """The lines as upstream splits them, blanks at their ends taken off (spec 03 section 2)."""
        return cls([LyricLine(number, line.strip()) for number, line in enumerate(lyrics.split("\n"), start=1)])


def read_lines(lyrics: str) -> LyricLines:
    """Split lyrics into lines: every kind of line break, tags apart from words, time stamps taken off.

    A line with several time stamps is sung at each of them, so the lines then go in the order of time.
    """
    song = LyricLines()
    renamed: dict[str, list[str]] = {}
    unknown: list[str] = []
    repeats = False
    for number, raw in enumerate(_BREAKS.split(lyrics), start=1):
        line, stamps = _without_stamps(one_form(raw).strip())
        if _FILE_TAG.fullmatch(line):
            song.notes.append(f"line {number}: {line[:60]} describes the file and is not sung")
            continue
        if line == "" and stamps:
            continue
        repeats |= len(stamps) > 1
        for written, tag, words in _tags(line):
            times: list[float | None] = [*stamps] or [None]
            song.lines += [LyricLine(number, tag or words, bool(tag), at) for at in times]
            if tag and written.lower() != tag:
                renamed.setdefault(tag, []).append(written)
            elif not tag and written:
                unknown.append(written)
    if repeats:
        song.lines.sort(key=lambda line: line.at or 0.0)
    song.notes += [f"{_listed(written)} read as {tag}" for tag, written in renamed.items()]
    if unknown:
        song.notes.append(f"{_listed(unknown)} read as words; structure tags are {', '.join(STRUCTURE)}")
    return song


def one_form(text: str) -> str:
    """`text` in NFC, its letters, digits and blanks outside Han and Hangul in NFKC, invisible characters dropped."""
    text = unicodedata.normalize("NFC", text)
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", "".join(map(_plain, _INVISIBLE.sub("", text))))


def _plain(character: str) -> str:
    """The compatibility form of a letter, a digit or a blank. Punctuation has rules of its own in each language."""
    if character.isascii() or _HAN_OR_HANGUL.match(character):
        return character
    return unicodedata.normalize("NFKC", character) if unicodedata.category(character)[0] in "LNZ" else character


def _without_stamps(line: str) -> tuple[str, list[float]]:
    """The line without its time stamps, and those at its start in seconds."""
    stamps: list[float] = []
    while match := _STAMP.match(line):
        stamps.append(int(match[1]) * 60 + float(match[2].replace(":", ".")))
        line = line[match.end() :]
    return (_WORD_STAMP.sub("", line).strip() if stamps else line), stamps


def _tags(line: str) -> Iterator[tuple[str, str, str]]:
    """The tags at the start of a line and the words behind them, as (what is written, tag, words)."""
    decorated = _DECORATED.fullmatch(line)
    if decorated is not None:
        name = next(group for group in decorated.groups() if group is not None)
        plain = decorated["round"] or decorated["colon"]
        if is_spoken_name(name) if plain else structure_tag(name):
            yield line, structure_tag(name), ""
            return
    while (match := _BRACKETED.match(line)) is not None:
        tag = structure_tag(match[1])
        if not tag:
            yield match[0].strip(), "", line
            return
        yield match[0].strip().rstrip(":").rstrip(), tag, ""
        line = line[match.end() :]
        if not line:
            return
    yield "", "", line


def _listed(written: list[str]) -> str:
    """`[Verse 1] is`, `[Verse 1], [Verse 2] and 3 more are`: every form once."""
    forms = list(dict.fromkeys(form[:60] for form in written))
    if len(forms) == 1:
        return f"{forms[0]} is"
    shown = ", ".join(forms[:4])
    return f"{shown} and {len(forms) - 4} more are" if len(forms) > 4 else f"{shown} are"
