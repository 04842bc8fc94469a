"""Korean and Japanese in Latin letters (spec 03 sections 3.4 and 3.5)."""

from __future__ import annotations

import threading
from typing import Any

from acestep_flows.text.loading import once

_JAPANESE = threading.Lock()  # the MeCab tagger keeps state while it parses


def romanize_korean(text: str) -> str:
    """Hangul by the academic rule; everything else stays."""
    romanized: str = _transliterator().translit(text)
    return romanized


def romanize_japanese(text: str) -> str:
    """Hepburn in lower case; words of foreign origin in their own spelling (katsu karee: "cutlet curry")."""
    with _JAPANESE:
        romanized: str = _cutlet().romaji(text)
    return romanized.lower()


@once
def _transliterator() -> Any:
    from hangul_romanize import Transliter
    from hangul_romanize.rule import academic

    return Transliter(academic)


@once
def _cutlet() -> Any:
    import cutlet

    return cutlet.Cutlet(system="hepburn", use_foreign_spelling=True, ensure_ascii=True)
