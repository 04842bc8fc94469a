"""Checks of prompts and lyrics, before anything else is done with them."""

from __future__ import annotations

import re

from acestep_flows.errors import InputError

MAX_PROMPT_CHARACTERS = 10_000
"""Far more text than the encoder's 256 tokens is a mistake, such as lyrics in the wrong field."""

MAX_LYRIC_CHARACTERS = 100_000
"""The model reads 4096 tokens of about 3 characters each; text beyond them is cut with a warning."""

_SURROGATE = re.compile(r"[\ud800-\udfff]")
# C0 and C1 controls except those that count as white space.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


def check_prompt(prompt: str, where: str = "tags") -> str:
    """Check that a prompt (tags, description or scene) can be encoded, and return it unchanged.

    Raises:
        InputError: not text, blank, over 10 000 characters, a lone surrogate or a control character.
    """
    _check(prompt, where, MAX_PROMPT_CHARACTERS)
    if not prompt.strip():
        raise InputError("empty", where=where, allowed='a description of the music, such as "funk, 105 BPM"')
    return prompt


def check_lyrics(lyrics: str, where: str = "lyrics") -> str:
    """Check that lyrics can be encoded, and return them unchanged. Empty lyrics mean an instrumental.

    Raises:
        InputError: not text, over 100 000 characters, a lone surrogate or a control character.
    """
    _check(lyrics, where, MAX_LYRIC_CHARACTERS)
    return lyrics


def _check(text: str, where: str, limit: int) -> None:
    if not isinstance(text, str):
        raise InputError(f"{type(text).__name__}", where=where, allowed="text")
    if len(text) > limit:
        raise InputError(f"{len(text)} characters", where=where, allowed=f"at most {limit} characters")
    if surrogate := _SURROGATE.search(text):
        raise InputError(f"lone surrogate {_name(surrogate)}", where=where, allowed="valid Unicode text")
    if control := _CONTROL.search(text):
        raise InputError(f"control character {_name(control)}", where=where, allowed="text, blanks and line breaks")


def _name(match: re.Match[str]) -> str:
    line = match.string.count("\n", 0, match.start()) + 1
    return f"U+{ord(match[0]):04X} in line {line}"
