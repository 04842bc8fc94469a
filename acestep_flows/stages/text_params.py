"""Texts as stage parameters. One that cannot be encoded is refused when a run is planned, before weights are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from acestep_flows.errors import InputError
from acestep_flows.text.prompt import check_lyrics, check_prompt


def _refusing(check: Callable[[str], str]) -> Callable[[str], str]:
    """`check` for pydantic, which collects the faults of all parameters and knows only ValueError."""

    def validate(text: str) -> str:
        try:
            return check(text)
        except InputError as error:
            raise ValueError(f"{error.allowed}, not {error.what}") from None

    return validate


PromptText = Annotated[str, AfterValidator(_refusing(check_prompt))]
"""Tags, a description or a scene, as `check_prompt` allows it."""

LyricText = Annotated[str, AfterValidator(_refusing(check_lyrics))]
"""Lyrics as `check_lyrics` allows them; empty means an instrumental."""
