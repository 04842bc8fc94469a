"""Tags of an output file: the statement that an AI made the audio, and the recipe.

Both are in the comment tag, the one field that every format keeps. The first line is the statement, which players
show. The second line is the recipe as ASCII JSON. Measured with libsndfile 1.2.2: FLAC files with more than 16 MB of
tags cannot be read any more, Ogg accepts 20 MB, WAV loses text above 2 kB, and MP3 garbles text outside ASCII. `riff`
and `id3` therefore write the tags of WAV and MP3.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acestep_flows import __version__
from acestep_flows.audio import containers, decoding, riff
from acestep_flows.audio import read as reading
from acestep_flows.audio.containers.pieces import whole
from acestep_flows.errors import InputError

AI_STATEMENT = "AI-generated audio, made with acestep_flows."
SOFTWARE = f"acestep_flows {__version__}"
LARGEST = 8_000_000  # bytes of comment, half of what FLAC can hold


@dataclass(frozen=True)
class Tags:
    """The tags of one file.

    Attributes:
        recipe: how the audio was made, as JSON; empty when unknown.
        title: the song's name; may be empty.
        statement: the sentence that the audio is AI-generated; empty in files of other programs.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    statement: str = AI_STATEMENT

    def __post_init__(self) -> None:
        # Players show one line, and neither NUL nor lone surrogates can be written.
        printable = "".join(letter if letter.isprintable() else " " for letter in self.title)
        object.__setattr__(self, "title", " ".join(printable.split()))

    def comment(self) -> str:
        """The comment tag: statement, newline, recipe.

        Raises:
            InputError: the recipe is not JSON, or is too large for a file's tags.
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
    """The tags of an audio file. Files of other programs have neither statement nor recipe.

    Raises:
        InputError: the file cannot be read, or its recipe is damaged.
    """
    where = name if isinstance(source, bytes) else str(source)
    with reading.opened(source, where) as stream:
        format = containers.examine(stream, where).format
        if format == "wav":
            strings, metadata = riff.info(stream), dict[str, str]()
        else:
            strings, metadata = dict[str, str](), decoding.metadata(stream, whole(stream))
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
