"""The words of tags that a model knows, where its tokenizer has a closed list of whole words."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.model.checkpoint import TOKENIZER, Checkpoint
from acestep_flows.model.layout import TEXT_ENCODER

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LARGEST_LIST = 4_000_000
"""Bytes of a tokenizer with a list of whole words. Those of pieces of words, which can spell anything, are larger."""

_TAG = re.compile(r"[^,;\n]+")
_JOINS = re.compile(r"[\s_-]+")


class TagWords:
    """A closed list of words: all others are one and the same unknown token to the model."""

    def __init__(self, tokenizer: Tokenizer, unknown: int) -> None:
        self._tokenizer, self._unknown_id = tokenizer, unknown

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> TagWords | None:
        """The words that the tokenizer of a checkpoint has; None where it spells words of pieces, as published ones do.

        No weights are read.
        """
        path = checkpoint.file(TEXT_ENCODER, TOKENIZER)
        try:
            status = path.stat()
        except OSError:
            return None
        return _read(path, status.st_mtime_ns, status.st_size)

    def unknown(self, tags: str) -> list[str]:
        """What the model does not know of `tags`: whole tags, and single words of tags that it knows in part.

        A single letter is a note of a key, which says nothing beside unknown words: `a cappella` is unknown as a whole.
        """
        encoding = self._tokenizer.encode(tags)
        places = [place for token, place in zip(encoding.ids, encoding.offsets, strict=True) if place[0] < place[1]
                  and token == self._unknown_id]  # fmt: skip
        known = [place for token, place in zip(encoding.ids, encoding.offsets, strict=True) if place[0] + 1 < place[1]
                 and token != self._unknown_id]  # fmt: skip
        found: dict[str, None] = {}
        for tag in _TAG.finditer(tags):
            words = [tags[start:end] for start, end in places if tag.start() <= start < tag.end()]
            whole = words and not any(tag.start() <= start < tag.end() for start, _ in known)
            found |= dict.fromkeys([tag[0].strip()] if whole else words)
        return list(found)

    def spelt(self, tag: str) -> str:
        """The same tag written as one word, if the model knows it so; else empty."""
        joined = _JOINS.sub("", tag)
        return joined if joined != tag and not self.unknown(joined) else ""


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> TagWords | None:
    """The list in a file, read again when the file changes."""
    if size > LARGEST_LIST:
        return None
    try:
        content = json.loads(path.read_bytes())
        model = content["model"]
        unknown = model["vocab"].get(model["unk_token"]) if model["type"] == "WordLevel" else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it is refused where it is loaded
        return None
    if not isinstance(unknown, int):
        return None
    from tokenizers import Tokenizer

    return TagWords(Tokenizer.from_file(str(path)), unknown)
