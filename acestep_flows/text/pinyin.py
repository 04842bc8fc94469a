"""Chinese to pinyin with tone digits (spec 03 section 3.3), and pinyin that a user wrote to fix a reading."""

from __future__ import annotations

import re
from collections.abc import Callable

_FINALS_BY_INITIAL = {
    "": "a ai an ang ao e ei en eng er o ou",
    "b": "a ai an ang ao ei en eng i ian iao ie in ing o u",
    "p": "a ai an ang ao ei en eng i ian iao ie in ing o ou u",
    "m": "a ai an ang ao e ei en eng i ian iao ie in ing iu o ou u",
    "f": "a an ang ei en eng o ou u",
    "d": "a ai an ang ao e ei en eng i ia ian iao ie ing iu ong ou u uan ui un uo",
    "t": "a ai an ang ao e ei eng i ian iao ie ing ong ou u uan ui un uo",
    "n": "a ai an ang ao e ei en eng i ian iang iao ie in ing iu ong ou u uan un uo v ve",
    "l": "a ai an ang ao e ei eng i ia ian iang iao ie in ing iu o ong ou u uan un uo v ve",
    "g": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "k": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "h": "a ai an ang ao e ei en eng ong ou u ua uai uan uang ui un uo",
    "j": "i ia ian iang iao ie in ing iong iu u uan ue un",
    "q": "i ia ian iang iao ie in ing iong iu u uan ue un",
    "x": "i ia ian iang iao ie in ing iong iu u uan ue un",
    "zh": "a ai an ang ao e ei en eng i ong ou u ua uai uan uang ui un uo",
    "ch": "a ai an ang ao e en eng i ong ou u ua uai uan uang ui un uo",
    "sh": "a ai an ang ao e ei en eng i ou u ua uai uan uang ui un uo",
    "r": "an ang ao e en eng i ong ou u ua uan ui un uo",
    "z": "a ai an ang ao e ei en eng i ong ou u uan ui un uo",
    "c": "a ai an ang ao e en eng i ong ou u uan ui un uo",
    "s": "a ai an ang ao e en eng i ong ou u uan ui un uo",
    "y": "a an ang ao e i in ing o ong ou u uan ue un",
    "w": "a ai an ang ei en eng o u",
}
SYLLABLES = frozenset(initial + final for initial, finals in _FINALS_BY_INITIAL.items() for final in finals.split())

_SYLLABLE = "|".join(sorted(SYLLABLES, key=len, reverse=True)).replace("v", "[vü]")
# The look-ahead saves most positions the search in the long list of syllables.
_WRITTEN = re.compile(rf"(?<![a-zü\d])(?=[a-z])((?:(?:{_SYLLABLE})[1-5])++)(?![a-zü\d])", re.IGNORECASE)
_WORD = re.compile(r"\w")


def to_pinyin(text: str) -> str:
    """Replace Han characters by syllables with tone digits (5 is neutral), without blanks."""
    from pypinyin import Style, lazy_pinyin

    return "".join(lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True))


def is_written_pinyin(line: str) -> bool:
    """Whether all words of a line are pinyin with tone digits, such as "ni3 hao3"."""
    return bool(_WRITTEN.search(line)) and not _WORD.search(_WRITTEN.sub("", line))


def change_around_pinyin(text: str, change: Callable[[str], str]) -> str:
    """Apply `change` to the text between words of pinyin. The words get the spelling of `to_pinyin` (lü4: lv4)."""
    pieces = _WRITTEN.split(text)  # pieces with an odd index are pinyin
    pieces[0::2] = [change(piece) if piece else "" for piece in pieces[0::2]]
    pieces[1::2] = [piece.replace("ü", "v") for piece in pieces[1::2]]
    return "".join(pieces)
