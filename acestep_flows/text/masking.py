"""Replace tags, scripts, numbers, quotes and brackets of a line by placeholders.

The passes run in order over the whole line, and each sees the placeholders of the earlier ones (spec 03 section 4.2).
`segments` then finds the language of the remaining text and of each placeholder's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

Kind = Literal["tag", "ko", "th", "ru", "number", "latin", "quote", "bracket"]

# Lower case only, and not all letters: ø, ß and central European letters split a word.
_ACCENTED = "à-öù-þÿăđĩũơư" + "".join(chr(code) for code in range(0x1EA1, 0x1EFA, 2) if chr(code) not in "ỳỵ")


def _script_run(letters: str) -> re.Pattern[str]:
    """A pattern from a letter, or opening characters before it, up to the next word character outside `letters`."""
    opening = "【《（(“‘\"'"
    return re.compile(rf"(?<![{opening}])[{opening}]*+[{letters}][{letters}\W]*+")


# Possessive quantifiers and look-behinds make every pass linear in the length of the line.
_PASSES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("tag", re.compile(r"<(?P<name>[a-zA-Z|-]*)>(?P<inner>.*?)</?[a-zA-Z|-]*>")),
    ("ko", _script_run("가-힣")),
    ("th", _script_run("\u0e00-\u0e7f")),
    ("ru", _script_run("А-яЁё")),
    ("number", re.compile(r"(?<!\W)\W*+(?<!\d)\d++\W++\d*+\W*+\d*+")),
    ("latin", _script_run(f"a-zA-Z{_ACCENTED}")),
    ("quote", re.compile(r"(?P<mark>[\"'])(?P<inner>.*?)(?P=mark)")),
    ("bracket", re.compile(r"[【《（(“‘](?P<inner>[^【《（(“‘’”)）》】]{3,}+)[’”)）》】]\W*+")),
)
_STAYS_IF_WHOLE = ("number", "quote", "bracket")


@dataclass(frozen=True)
class Hidden:
    """The text that a placeholder replaces.

    Attributes:
        kind: the pass that matched it.
        text: the whole match; quotes and brackets may contain placeholders of earlier passes.
        inner: the text inside the quotes, brackets or tag.
        name: the name of a tag.
    """

    kind: Kind
    text: str
    inner: str = ""
    name: str = ""


class MaskedLine:
    """A line after all passes.

    Attributes:
        text: the remaining text, with placeholders.
    """

    def __init__(self, line: str) -> None:
        self._hidden: list[Hidden] = []
        # A placeholder is three letters that do not occur in the line: word characters of none of the scripts.
        present = set(line)
        rare = (letter for letter in map(chr, range(0x20000, 0x2A6D7)) if letter not in present)
        self._letters = "".join(islice(rare, 64))
        self._placeholder = re.compile(f"([{self._letters}]{{3}})")
        self.text = line
        for kind, pattern in _PASSES:
            self._hide(kind, pattern)

    def pieces(self, text: str) -> Iterator[str | Hidden]:
        """Split `text` at its placeholders: plain pieces, possibly empty, with the replaced texts between them."""
        for position, piece in enumerate(self._placeholder.split(text)):
            yield self._hidden[self._number(piece)] if position % 2 else piece

    def holds_placeholder(self, text: str) -> bool:
        """Whether `text` contains a placeholder."""
        return bool(self._placeholder.search(text))

    def _hide(self, kind: Kind, pattern: re.Pattern[str]) -> None:
        if kind in _STAYS_IF_WHOLE and (match := pattern.match(self.text)) and match[0] == self.text:
            return

        def placeholder(match: re.Match[str]) -> str:
            groups = match.groupdict()
            self._hidden.append(Hidden(kind, match[0], groups.get("inner", ""), groups.get("name", "")))
            number = len(self._hidden) - 1
            return "".join(self._letters[number >> shift & 63] for shift in (12, 6, 0))

        self.text = pattern.sub(placeholder, self.text)

    def _number(self, placeholder: str) -> int:
        high, middle, low = (self._letters.index(letter) for letter in placeholder)
        return high << 12 | middle << 6 | low
