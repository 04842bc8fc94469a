"""Texts that cannot be encoded are refused as parameters, with what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from acestep_flows.stages.text_params import LyricText, PromptText

PROMPT: TypeAdapter[str] = TypeAdapter(PromptText)
LYRICS: TypeAdapter[str] = TypeAdapter(LyricText)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (PROMPT, "", "a description of the music, .*, not empty"),
        (PROMPT, " \n", "a description of the music, .*, not empty"),
        (PROMPT, "x" * 10_001, "at most 10000 characters, not 10001 characters"),
        (PROMPT, "a\x00b", r"text, blanks and line breaks, not control character U\+0000 in line 1"),
        (LYRICS, "a\nb\x1bc", r"not control character U\+001B in line 2"),
        (LYRICS, "x" * 100_001, "at most 100000 characters, not 100001 characters"),
    ],
)
def test_the_message_says_what_is_allowed_and_what_was_found(kind: Any, text: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        kind.validate_python(text)


def test_what_can_be_encoded_stays_as_it_is() -> None:
    assert PROMPT.validate_python(" funk, 105 BPM ") == " funk, 105 BPM "
    assert LYRICS.validate_python("") == ""
