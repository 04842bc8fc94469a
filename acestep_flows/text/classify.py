"""The statistical classifier behind language identification (spec 03 section 4.1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

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


@load_once
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_pickled_model(MODEL_FILE, norm_probs=True)
