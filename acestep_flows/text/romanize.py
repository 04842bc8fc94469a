"""Korean and Japanese in Latin letters (spec 03 sections 3.4 and 3.5)."""

from __future__ import annotations

import re
import threading
from typing import Any

from acestep_flows.text.loading import load_once

_CUTLET_LOCK = threading.Lock()  # the MeCab tagger keeps state while it parses


def romanize_korean(text: str) -> str:
    """Replace Hangul by Latin letters, by the academic rule. Other characters stay."""
    romanized: str = _transliterator().translit(text)
    return romanized


LONGEST = 1000
"""Characters that the Japanese analyser gets at once: its time grows with the square of a run without a known word."""


def romanize_japanese(text: str) -> str:
    """Hepburn in lower case; words of foreign origin in their original spelling (katsu karee: "cutlet curry").

    A text of over `LONGEST` characters is romanised piece by piece, cut at blanks and punctuation where there are some.
    """
    if len(text) <= LONGEST:
        return _romanize(text)
    return " ".join(_romanize(piece) for piece in _PIECE.findall(text))


_PIECE = re.compile(rf".{{1,{LONGEST - 1}}}(?:[\s\W]|$)|.{{1,{LONGEST}}}", re.DOTALL)


def _romanize(text: str) -> str:
    with _CUTLET_LOCK:
        romanized: str = _cutlet().romaji(text)
    return romanized.lower()


@load_once
def _transliterator() -> Any:
    from hangul_romanize import Transliter
    from hangul_romanize.rule import academic

    return Transliter(academic)


@load_once
def _cutlet() -> Any:
    import cutlet

    return cutlet.Cutlet(system="hepburn", use_foreign_spelling=True, ensure_ascii=True)
