"""The words of tags that a model knows, where its tokenizer has a closed list of whole words."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.model.checkpoint import TOKENIZER, Checkpoint
from acestep_flows.model.layout import TEXT_ENCODER

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LARGEST_LIST = 4_000_000
"""Bytes of a tokenizer with a list of whole words. Those of pieces of words, which can spell anything, are larger."""

LONGEST_SPELT = 60
"""Characters of a tag that may be misspelt; a longer one is a sentence."""

MOST_COMPARED = 5000
LEAST_ALIKE = 0.8
"""The share of letters that a word has in common with one that it is likely a misspelling of."""

_SHARPS = {"Ab": "G#", "Bb": "A#", "Cb": "B", "Db": "C#", "Eb": "D#", "Fb": "E", "Gb": "F#"}
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
        places, known = self._places(tags)
        found: dict[str, None] = {}
        for tag in _TAG.finditer(tags):
            words = [tags[start:end] for start, end in places if tag.start() <= start < tag.end()]
            whole = words and not any(tag.start() <= start < tag.end() for start, _ in known)
            found |= dict.fromkeys([tag[0].strip()] if whole else words)
        return list(found)

    def knows_any(self, tags: str) -> bool:
        """Whether the model knows a word of `tags`. A single letter says nothing."""
        return bool(self._places(tags)[1])

    def spelt(self, tag: str) -> str:
        """An unknown tag as the model knows it; empty where nothing is near.

        It is written as one word (`lo-fi`), a flat as the sharp of the same key, or with the nearest words.
        """
        if len(tag) > LONGEST_SPELT:
            return ""
        joined = _JOINS.sub("", tag)
        if joined != tag and not self.unknown(joined):
            return joined
        sharp = _SHARPS.get(tag.replace("\u266d", "b").capitalize(), "")
        if sharp and not self.unknown(sharp):
            return sharp
        words = [self._nearest(word) for word in _JOINS.split(tag) if word]
        return " ".join(words) if all(words) else ""

    def _nearest(self, word: str) -> str:
        """A word, if the model knows it, else the one that it is likely a misspelling of; empty where there is none."""
        if not self.unknown(word):
            return word
        known = islice((one for one in self._tokenizer.get_vocab() if one.isalpha() and len(one) > 2), MOST_COMPARED)
        return next(iter(get_close_matches(word.lower(), list(known), n=1, cutoff=LEAST_ALIKE)), "")

    def _places(self, tags: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Where the words of `tags` are that the model does not know, and those of more than a letter that it knows."""
        encoding = self._tokenizer.encode(tags)
        unknown: list[tuple[int, int]] = []
        known: list[tuple[int, int]] = []
        for token, place in zip(encoding.ids, encoding.offsets, strict=True):
            if token == self._unknown_id and place[0] < place[1]:
                unknown.append(place)
            elif token != self._unknown_id and place[0] + 1 < place[1]:
                known.append(place)
        return unknown, known


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
