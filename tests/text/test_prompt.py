from __future__ import annotations

import pytest

from acestep_flows.errors import InputError
from acestep_flows.text.prompt import MAX_LYRIC_CHARACTERS, MAX_PROMPT_CHARACTERS, check_lyrics, check_prompt


@pytest.mark.parametrize(
    "text", ["funk, 105 BPM", "  two words\n", "爵士 😀 ♪", "tab\tand\r\nbreak\u0085", "x" * 10_000]
)
def test_usable_text_is_returned_unchanged(text: str) -> None:
    assert check_prompt(text) == text
    assert check_lyrics(text) == text


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u3000"])
def test_blank_prompt_is_refused_and_blank_lyrics_are_not(blank: str) -> None:
    with pytest.raises(InputError, match="tags: empty"):
        check_prompt(blank)
    assert check_lyrics(blank) == blank


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\ud800b", r"^lyrics: lone surrogate U\+D800 in line 1 \(allowed: valid Unicode text\)$"),
        ("one\ntwo \udfff", r"U\+DFFF in line 2"),
        ("nul\0", r"control character U\+0000 in line 1"),
        ("\x1b[31m", r"control character U\+001B"),
        ("\x7f", r"U\+007F"),
        ("\x9b", r"U\+009B"),
    ],
)
def test_the_error_names_the_character_and_its_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_lyrics(text)
    with pytest.raises(InputError, match="tags: "):
        check_prompt(text)


def test_length_limits() -> None:
    check_lyrics("x" * MAX_LYRIC_CHARACTERS)
    with pytest.raises(InputError, match=r"lyrics: 100001 characters \(allowed: at most 100000 characters\)"):
        check_lyrics("x" * (MAX_LYRIC_CHARACTERS + 1))
    check_prompt("x" * MAX_PROMPT_CHARACTERS)
    with pytest.raises(InputError, match="description: 10001 characters"):
        check_prompt("x" * (MAX_PROMPT_CHARACTERS + 1), where="description")


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["a"]])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(InputError, match="allowed: text"):
        check_lyrics(value)  # type: ignore[arg-type]
