"""Texts as stage parameters. One that cannot be encoded is refused when a run is planned, before weights are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field

from acestep_flows.errors import InputError
from acestep_flows.text.prompt import MAX_LYRIC_CHARACTERS, MAX_PROMPT_CHARACTERS, check_lyrics, check_prompt


def _refusing(check: Callable[[str], str]) -> Callable[[str], str]:
    """`check` for pydantic, which collects the faults of all parameters and knows only ValueError."""

    def validate(text: str) -> str:
        try:
            return check(text)
        except InputError as error:
            raise ValueError(f"{error.allowed}, not {error.what}") from None

    return validate


LONGEST = "x-longest"
"""Key of a parameter's JSON Schema: the most characters that its check allows."""

PromptText = Annotated[
    str, AfterValidator(_refusing(check_prompt)), Field(json_schema_extra={LONGEST: MAX_PROMPT_CHARACTERS})
]
"""Tags, a description or a scene, as `check_prompt` allows it."""

LyricText = Annotated[
    str, AfterValidator(_refusing(check_lyrics)), Field(json_schema_extra={LONGEST: MAX_LYRIC_CHARACTERS})
]
"""Lyrics as `check_lyrics` allows them; empty means an instrumental."""
