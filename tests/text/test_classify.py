from __future__ import annotations

import pytest

from acestep_flows.text.classify import classify, known_codes


def test_codes_of_the_pinned_model() -> None:
    assert len(known_codes()) == 97
    assert {"zh", "ja", "en", "gl", "jv"} <= known_codes()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "en"),
        ("Corazón", "gl"),
        ("La la la", "es"),
        ("Ich liebe dich", "de"),
        ("perché la notte è così lunga", "it"),
    ],
)
def test_most_likely_code(text: str, code: str) -> None:
    assert classify(text)[0] == code


def test_probability_is_rounded() -> None:
    _, probability = classify("Ich liebe dich und die Nacht")
    assert 0.5 < probability <= 1
    assert probability == round(probability, 3)
