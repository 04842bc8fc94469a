"""The languages that lyrics can be encoded in."""

from __future__ import annotations

from acestep_flows.errors import InputError
from acestep_flows.values import Compatibility

SUPPORTED = ("ar", "cs", "de", "en", "es", "fr", "hi", "hu", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh")


def tag(language: str) -> str:
    """The token that opens a line in `language`."""
    return "[zh-cn]" if language == "zh" else f"[{language}]"


def encoded_as(code: str, compatibility: Compatibility) -> str:
    """The language a line detected as `code` is encoded in: `en` for everything that has no token of its own.

    Upstream meant variants of Chinese and Spanish (zh-tw, spa) to join zh and es, and never reaches that.
    """
    if compatibility == "corrected":
        code = _family(code)
    return code if code in SUPPORTED else "en"


def check_language(code: str, where: str = "language") -> str:
    """The language that a caller's hint names, in any letter case, regional variants included.

    Raises:
        InputError: none of the 17 languages.
    """
    language = _family(code.strip().lower()).split("-")[0]
    if language not in SUPPORTED:
        raise InputError(f"{code!r}", where=where, allowed=", ".join(SUPPORTED))
    return language


def _family(code: str) -> str:
    if code.startswith("zh"):
        return "zh"
    return "es" if code.startswith("spa") else code
