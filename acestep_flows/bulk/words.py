"""The tags and lyrics of a song, from the inputs of its row: after an edit, the new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TAGS = ("new_tags", "tags")
LYRICS = ("new_lyrics", "lyrics")


def final_tags_and_lyrics(inputs: Mapping[str, Any]) -> tuple[str, str]:
    """Tags and lyrics, "" where there are none."""
    return _text(inputs, TAGS), _text(inputs, LYRICS)


def _text(inputs: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((text.strip() for name in names if isinstance(text := inputs.get(name), str) and text.strip()), "")
