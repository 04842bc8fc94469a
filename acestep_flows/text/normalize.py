"""Normalisation of lyrics: numbers, abbreviations and symbols as words; Chinese, Japanese and Korean in Latin script.

The rules are those of spec 03 section 3.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from acestep_flows.text.abbreviations import spell_abbreviations, spell_symbols
from acestep_flows.text.chinese_numbers import spell_chinese_numbers
from acestep_flows.text.languages import SUPPORTED
from acestep_flows.text.numbers import spell_numbers
from acestep_flows.text.pinyin import change_around_pinyin, to_pinyin
from acestep_flows.text.romanize import romanize_japanese, romanize_korean
from acestep_flows.values import Compatibility

logger = logging.getLogger(__name__)

_BLANKS = re.compile(r"\s+")
_TURKISH_CAPITALS = str.maketrans("İÖÜ", "iöü")


def normalize(text: str, language: str, compatibility: Compatibility) -> str:
    """Rewrite a line in `language` for the lyric vocabulary.

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
        return change_around_pinyin(text, lambda piece: spell_chinese_numbers(piece, compatibility))

    text = _attempt(numbers, text)
    text = _attempt(lambda text: spell_abbreviations(text, language), text)
    text = _attempt(lambda text: spell_symbols(text, language), text)
    return _BLANKS.sub(" ", text)


def _attempt(step: Callable[[str], str], text: str) -> str:
    """The result of `step`, or `text` where the step fails: a number without words must not lose the line."""
    try:
        return step(text)
    except Exception as error:  # noqa: BLE001 - spec 03 section 3.1: any error
        logger.debug("left %r unchanged: %s", text[:80], error)
        return text
