"""The language of every line of a song, where short lines follow the song they stand in.

Scripts decide where they can. Among the languages written in Latin letters, the lines of a song are the hidden states
of a Markov chain: a statistical classifier says how well each language fits each line, leaving the language of the song
costs `SWITCH`, and the cheapest path wins (Viterbi 1967). A line of two words so needs its neighbours to be read, and a
verse in another language keeps its own.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from acestep_flows.text.classify import LATIN, latin_scores
from acestep_flows.text.common_words import common_words
from acestep_flows.text.pinyin import is_written_pinyin

SWITCH = 12.0
"""Cost of going from one Latin language to another between two lines, in the classifier's own unit (nats)."""

COMMON_WORD = 3.0
"""What a common word of a language counts (nats)."""

MINIMUM_SHARE = 0.15
"""The share of a line's letters that another script needs to take precedence over Latin letters."""

MARGIN = 20.0
"""How much better one line can fit a language than another (nats)."""

_SCRIPTS = {
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "han",
    "CYRILLIC": "ru",
    "ARABIC": "ar",
    "DEVANAGARI": "hi",
    "LATIN": "latin",
}
_LATIN = "latin"
_HAN = "han"
_BRACKETS = re.compile(r"\[[^\[\]]*\]")


def song_languages(lines: Sequence[str], hints: Sequence[str | None]) -> list[str]:
    """The language of each line, one of the 17; "" for blank lines.

    Args:
        lines: the song's lines.
        hints: the language that the caller gave for each line, or None.
    """
    scripts = ["" if not line.strip() else hint or _script(line) for line, hint in zip(lines, hints, strict=True)]
    han = "ja" if _is_japanese(lines, scripts) else "zh"
    languages = [han if script == _HAN else script for script in scripts]
    latin = [place for place, script in enumerate(languages) if script == _LATIN]
    for place, language in zip(latin, _latin_path([lines[place] for place in latin]), strict=True):
        languages[place] = language
    spoken = Counter(language for language in languages if language not in ("", "?"))
    # Alone, letters of other scripts are English (spec 03 section 2), and digits are Chinese.
    song = spoken.most_common(1)[0][0] if spoken else "en" if any(map(_has_letter, lines)) else "zh"
    return [song if language == "?" else language for language in languages]


def _script(line: str) -> str:
    """A language where the script names it, `han`, `latin`, or "?" for a line without letters of these scripts.

    Another script takes precedence over Latin from a share of `MINIMUM_SHARE`; a Chinese character counts twice.
    """
    if is_written_pinyin(line):
        return "zh"
    counts = Counter(script for character in _BRACKETS.sub(" ", line) for script in [_script_of(character)] if script)
    counts[_HAN] *= 2
    others = [(count, script) for script, count in counts.items() if script != _LATIN and count]
    if not others:
        return _LATIN if counts[_LATIN] else "?"
    most, script = max(others, key=lambda other: other[0])
    if most < MINIMUM_SHARE * counts.total():
        return _LATIN
    return "ja" if script == _HAN and counts["ja"] else script


def _has_letter(line: str) -> bool:
    return any(map(str.isalpha, _BRACKETS.sub(" ", line)))


@lru_cache(maxsize=4096)
def _script_of(character: str) -> str:
    if not character.isalpha():
        return ""
    return _SCRIPTS.get(unicodedata.name(character, "").split(" ", 1)[0].split("-", 1)[0], "")


def _is_japanese(lines: Sequence[str], scripts: Sequence[str]) -> bool:
    """Whether lines of Han characters alone are Japanese: the song has more lines with kana than Chinese ones need."""
    if "ja" not in scripts:
        return False
    return scripts.count("ja") * 2 >= scripts.count(_HAN) or "zh" not in scripts


def _fit(line: str) -> NDArray[np.float64]:
    """How well each Latin language fits a line: the classifier's log likelihoods, and points for common words."""
    scores = latin_scores(line) + COMMON_WORD * np.array(common_words(line, LATIN), np.float64)
    limited: NDArray[np.float64] = np.maximum(scores - scores.max(), -MARGIN)
    return limited


def _latin_path(lines: Sequence[str]) -> list[str]:
    """The most likely languages of the Latin lines of a song, in order."""
    if not lines:
        return []
    scores = np.stack([_fit(line) for line in lines])
    song = int(np.argmax(scores.sum(axis=0)))
    count = scores.shape[1]
    away = np.where(np.arange(count) == song, 0.0, SWITCH)  # leaving the song's language, or starting outside it
    best, came_from = scores[0] - away, list[NDArray[np.int64]]()
    for row in scores[1:]:
        # One may stay, or come back to the song's language for nothing, or pay for any other.
        moves = best[:, None] - np.where(np.eye(count, dtype=bool), 0.0, away[None, :])
        origins = np.argmax(moves, axis=0)
        came_from.append(origins)
        best = moves[origins, np.arange(count)] + row
    path = [int(np.argmax(best))]
    for origins in reversed(came_from):
        path.append(int(origins[path[-1]]))
    return [LATIN[state] for state in reversed(path)]
