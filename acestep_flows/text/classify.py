"""The statistical classifier behind language identification (spec 03 section 4.1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acestep_flows.text.loading import load_once


@lru_cache(maxsize=4096)
def classify(text: str) -> tuple[str, float]:
    """The most likely of 97 language codes and its probability, rounded to 3 decimals.

    Raises:
        OverflowError: a feature occurs more often than the classifier can count (in texts beyond 65 535 bytes).
    """
    code, probability = _identifier().classify(text)
    return str(code), round(float(probability), 3)


def known_codes() -> frozenset[str]:
    """All codes that `classify` can return."""
    return frozenset(_identifier().nb_classes)


LATIN = ("cs", "de", "en", "es", "fr", "hu", "it", "nl", "pl", "pt", "tr")
"""The languages of the lyric vocabulary that are written in Latin letters."""

LONGEST = 10_000
"""Characters of a line that are looked at; the language of a longer one is plain from them."""


@lru_cache(maxsize=4096)
def latin_scores(text: str) -> NDArray[np.float64]:
    """Log likelihoods of `text` in each language of `LATIN`, up to one constant."""
    identifier = _latin_identifier()
    scores: NDArray[np.float64] = np.asarray(
        identifier.nb_classprobs(identifier.instance2fv(text[:LONGEST])), np.float64
    )
    scores.flags.writeable = False
    return scores


@load_once
def _latin_identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=False)
    identifier.set_languages(list(LATIN))
    assert tuple(identifier.nb_classes) == LATIN
    return identifier


@load_once
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=True)
