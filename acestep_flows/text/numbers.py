"""Digits to words in the languages of the general cleaner, except Chinese (spec 03 section 3.1)."""

from __future__ import annotations

import logging
import re
import threading
from functools import partial

from acestep_flows.values import Compatibility

logger = logging.getLogger(__name__)

_NUM2WORDS_LOCK = threading.Lock()  # num2words keeps its working digits in objects that all threads share

# Possessive quantifiers and "no digit before" make every pattern linear and do not change its matches.
_CURRENCIES = tuple(
    (re.compile(rf"{sign}[\d.,]*\d|(?<![\d.,])[\d.,]*\d{sign}"), currency)
    for sign, currency in (("£", "GBP"), (r"\$", "USD"), ("€", "EUR"))
)
_DECIMAL = re.compile(r"(?<!\d)\d++[.,]\d++")
_CARDINAL = re.compile(r"\d++")

_COMMA_GROUPS = re.compile(r"\b\d{1,3}(?:,\d{3})*(?:\.\d+)?\b")
_DOT_GROUPS = re.compile(r"\b\d{1,3}(?:\.\d{3})*(?:,\d+)?\b")
# Upstream does not escape the dot, so any character may separate the groups.
_ANY_GROUPS = re.compile(r"\b\d{1,3}(?:.\d{3})*(?:,\d+)?\b")

# 10 000: a no-break or thin blank groups digits in every language, a plain one in those that write so.
_NO_BREAK_GROUPS = re.compile("(?<![\\d.,])\\d{1,3}(?:[\u00a0\u2009\u202f]\\d{3})+(?!\\d)")
_BLANK_GROUPS = re.compile(r"(?<![\d.,])(?<!\d )\d{1,3}(?: \d{3})+(?![\d])(?! \d)")
_GROUPED_BY_BLANKS = frozenset({"cs", "es", "fr", "hu", "it", "pl", "pt", "ru"})

_CENTS_AFTER = {
    **dict.fromkeys(("en", "pl", "cs", "ru", "nl", "ar", "tr", "hu", "ko"), ", "),
    "es": " con ",
    "fr": " et ",
    "de": " und ",
    "pt": " e ",
    "it": " e ",
}

_DOT_AT_END = r"\.(?=\s|$)"
_ORDINAL_SUFFIXES = {
    "en": ("st", "nd", "rd", "th"),
    "es": ("º", "ª", "er", "o", "a", "os", "as"),
    "fr": ("º", "ª", "er", "re", "e", "ème"),
    "de": ("st", "nd", "rd", "th", "º", "ª", _DOT_AT_END),
    "pt": ("º", "ª", "o", "a", "os", "as"),
    "it": ("º", "°", "ª", "o", "a", "i", "e"),
    "pl": ("º", "ª", "st", "nd", "rd", "th"),
    "ar": ("ون", "ين", "ث", "ر", "ى"),
    "cs": (_DOT_AT_END,),
    "ru": ("-й", "-я", "-е", "-ое", "-ье", "-го"),
    "nl": ("de", "ste", "e"),
    "tr": (r"\.", "inci", "nci", "uncu", "üncü"),
    "hu": (r"\.", "adik", "edik", "odik", "ödik", "ödike", "ik"),
    "ko": ("번째", "번", "차", "째"),
}
_ORDINALS = {
    language: re.compile(rf"(?<!\d)(\d++)(?:{'|'.join(suffixes)})") for language, suffixes in _ORDINAL_SUFFIXES.items()
}


def spell_numbers(text: str, language: str, compatibility: Compatibility) -> str:
    """Write amounts of money, decimals, ordinals and cardinals in words.

    Raises:
        Exception: any error of num2words for a number without words. The caller then leaves the text unchanged.
    """
    # Upstream uses a code for Czech that num2words no longer knows, so Czech numbers stay digits.
    code = "cz" if language == "cs" and compatibility == "upstream" else language

    if compatibility == "corrected":
        text = _join_blank_groups(text, language)
    text = _join_groups(text, language, compatibility)
    text = _spell_money(text, language, code)
    if language != "tr":
        text = _DECIMAL.sub(lambda match: _say(float(match[0].replace(",", ".")), code), text)
    text = _ORDINALS[language].sub(lambda match: _say(int(match[1]), code, to="ordinal"), text)
    return _CARDINAL.sub(lambda match: _say(int(match[0]), code), text)


def _say(number: float, code: str, **form: str) -> str:
    from num2words import num2words

    with _NUM2WORDS_LOCK:
        words: str = num2words(number, lang=code, **form)
    return words


def _join_blank_groups(text: str, language: str) -> str:
    """Remove the blanks between groups of three digits: 10 000."""
    patterns = [_NO_BREAK_GROUPS, *([_BLANK_GROUPS] if language in _GROUPED_BY_BLANKS else [])]
    for pattern in patterns:
        text = pattern.sub(lambda match: "".join(character for character in match[0] if character.isdigit()), text)
    return text


def _join_groups(text: str, language: str, compatibility: Compatibility) -> str:
    """Remove the thousands separators of 1,234.5 (English, Russian) or 1.234,5 (others)."""
    if language in ("en", "ru"):
        return _COMMA_GROUPS.sub(lambda match: match[0].replace(",", ""), text)
    groups = _ANY_GROUPS if compatibility == "upstream" else _DOT_GROUPS
    return groups.sub(lambda match: match[0].replace(".", ""), text)


def _spell_money(text: str, language: str, code: str) -> str:
    """Replace amounts with a currency sign by words. The first currency without words ends the step."""
    joiner = _CENTS_AFTER[language]

    def spell(match: re.Match[str], currency: str) -> str:
        amount = float(match[0].strip("£$€").replace(",", "."))
        words = _say(amount, code, to="currency", currency=currency)
        # "and zero cents" is cut off whole amounts.
        return words.rpartition(joiner)[0] or words if amount.is_integer() else words

    try:
        for pattern, currency in _CURRENCIES:
            text = pattern.sub(partial(spell, currency=currency), text)
    except Exception as error:  # noqa: BLE001 - spec 03 section 3.1: a currency without words, or not a number
        logger.debug("left amounts in %r unchanged: %s", text[:80], error)
    return text
