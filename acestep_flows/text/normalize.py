"""A line of lyrics as it is sung: words for numbers, abbreviations and symbols, Latin script for Chinese, Japanese and
Korean (spec 03 section 3).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from acestep_flows.text.abbreviations import spell_abbreviations, spell_symbols
from acestep_flows.text.chinese_numbers import spell_chinese_numbers
from acestep_flows.text.languages import SUPPORTED
from acestep_flows.text.numbers import spell_numbers
from acestep_flows.text.pinyin import around_written_pinyin, to_pinyin
from acestep_flows.text.romanize import romanize_japanese, romanize_korean
from acestep_flows.values import Compatibility

logger = logging.getLogger(__name__)

_BLANKS = re.compile(r"\s+")
_TURKISH_CAPITALS = str.maketrans("İÖÜ", "iöü")


def normalize(text: str, language: str, compatibility: Compatibility) -> str:
    """Rewrite `text` the way the lyric vocabulary expects `language`.

    Raises:
        ValueError: `language` is none of the 17.
    """
    if language not in SUPPORTED:
        raise ValueError(f"no normalisation for language {language!r}")
    if language == "ja":
        return romanize_japanese(text)
    if language == "hi":
        return _BLANKS.sub(" ", text.lower())
    text = _clean(text, language, compatibility)
    if language == "zh":
        return to_pinyin(text)
    return romanize_korean(text) if language == "ko" else text


def _clean(text: str, language: str, compatibility: Compatibility) -> str:
    text = text.replace('"', "")
    if language == "tr":
        text = text.translate(_TURKISH_CAPITALS)
    text = text.lower()

    def numbers(text: str) -> str:
        if language != "zh":
            return spell_numbers(text, language, compatibility)
        if compatibility == "upstream":
            return spell_chinese_numbers(text, compatibility)
        # Upstream reads the tone digits of pinyin as numbers: "ni3 hao3" becomes "nisan1 haosan1".
        return around_written_pinyin(text, lambda piece: spell_chinese_numbers(piece, compatibility))

    text = _attempt(numbers, text)
    text = _attempt(lambda text: spell_abbreviations(text, language), text)
    text = _attempt(lambda text: spell_symbols(text, language), text)
    return _BLANKS.sub(" ", text)


def _attempt(step: Callable[[str], str], text: str) -> str:
    """A step that fails is skipped as a whole: a number nobody can say is no reason to lose the line."""
    try:
        return step(text)
    except Exception as error:  # noqa: BLE001 - spec 03 section 3.1: whatever it raises
        logger.debug("left %r as it was: %s", text[:80], error)
        return text
