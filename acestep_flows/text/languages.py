"""The languages that lyrics can be encoded in."""

from __future__ import annotations

from acestep_flows.errors import InputError
from acestep_flows.values import Compatibility

SUPPORTED = ("ar", "cs", "de", "en", "es", "fr", "hi", "hu", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "zh")


def language_token(language: str) -> str:
    """The token that begins a line in `language`."""
    return "[zh-cn]" if language == "zh" else f"[{language}]"


def encoding_language(code: str, compatibility: Compatibility) -> str:
    """The language in which a line detected as `code` is encoded; `en` where `code` has no token.

    With "corrected", variants of Chinese and Spanish (zh-tw, spa) are encoded as zh and es. Upstream intends that, but
    its code never gets there.
    """
    if compatibility == "corrected":
        code = _family(code)
    return code if code in SUPPORTED else "en"


def check_language(code: str, where: str = "language") -> str:
    """The supported language for a caller's hint, in any letter case and with regional variants (pt-BR).

    Args:
        where: the name of the hint, for the error.

    Raises:
        InputError: the hint is none of the 17 languages.
    """
    language = _family(code.strip().lower()).split("-")[0]
    if language not in SUPPORTED:
        raise InputError(f"{code!r}", where=where, allowed=", ".join(SUPPORTED))
    return language


def _family(code: str) -> str:
    if code.startswith("zh"):
        return "zh"
    return "es" if code.startswith("spa") else code
