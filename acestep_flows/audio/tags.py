"""What an output file says about itself: that an AI made it, and the recipe it was made by.

Both stand in the comment tag, the one field that every format keeps: the statement on the first line, for whoever
looks at the file in a player, and the recipe below it as one line of ASCII JSON. Measured with libsndfile 1.2.2: FLAC
files with more than 16 MB of tags can no longer be read, Ogg took 20 MB, a WAV's text was lost above 2 kB and an MP3's
garbled outside ASCII; so `riff` and `id3` write the tags of those two.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acestep_flows import __version__
from acestep_flows.audio import read as reading
from acestep_flows.audio import riff
from acestep_flows.errors import InputError

AI_STATEMENT = "AI-generated audio, made with acestep_flows."
SOFTWARE = f"acestep_flows {__version__}"
LARGEST = 8_000_000  # bytes of comment, half of what FLAC can hold


@dataclass(frozen=True)
class Tags:
    """The tags of one file.

    Attributes:
        recipe: how the audio was made, as JSON; empty when unknown.
        title: the song's name, may be empty.
        statement: the sentence that the audio is AI-generated; empty in files of other origin.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    statement: str = AI_STATEMENT

    def __post_init__(self) -> None:
        # Players show one line; neither NUL nor lone surrogates can be written.
        shown = "".join(letter if letter.isprintable() else " " for letter in self.title)
        object.__setattr__(self, "title", " ".join(shown.split()))

    def comment(self) -> str:
        """The comment tag: statement, newline, recipe.

        Raises:
            InputError: the recipe is not JSON, or larger than a file's tags can hold.
        """
        try:
            recipe = json.dumps(dict(self.recipe), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"not JSON: {error}", where="recipe") from None
        comment = f"{self.statement}\n{recipe}"
        if len(comment) > LARGEST:
            raise InputError(f"{len(comment)} bytes", where="recipe", allowed=f"up to {LARGEST} bytes in a file's tags")
        return comment


def read(source: str | os.PathLike[str] | bytes, *, name: str = "audio") -> Tags:
    """The tags of an audio file; without statement and recipe when another program wrote it.

    Raises:
        InputError: the file cannot be read, or its recipe is damaged.
    """
    where = name if isinstance(source, bytes) else str(source)
    with reading.opened(source, where) as stream:
        strings = riff.info(stream)
        with reading.decoder(stream, where) as sound:
            metadata = sound.copy_metadata()
    comment = strings.get("ICMT") or metadata.get("comment", "")
    title = strings.get("INAM") or metadata.get("title", "")
    statement, _, recipe = comment.partition("\n")
    if not statement.startswith("AI-generated"):
        return Tags(title=title, statement="")
    try:
        content = json.loads(recipe)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError("the recipe in its tags is damaged", where=where)
    return Tags(content, title, statement)
