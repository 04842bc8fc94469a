"""Texts typed on a command line: literal line breaks are read, likely mistakes are told."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from acestep_flows.wording.phrases import clip
from acestep_flows.wording.quantities import QUOTES

_LINE_BREAK = re.compile(r"(?:\\r)?\\n")
_MAYBE_PATH = re.compile(r"[^\s\[\]]*")
_TEXT_FILE = re.compile(r"[^\s\[\],]+\.(?:txt|md|lrc|text)", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:\\")
_WEIGHTS = (".safetensors", ".pt", ".bin", ".ckpt")
MAX_PATH = 255


def with_line_breaks(text: str) -> str:
    r"""`text` with each literal `\n` as a line break. A single word keeps it: that may be a path (`C:\new`)."""
    return text if _MAYBE_PATH.fullmatch(text) else _LINE_BREAK.sub("\n", text)


def likely_mistakes(text: str, name: str) -> Iterator[str]:
    """What a text may have been meant as: one line each, beginning with the name."""
    if len(text) > MAX_PATH:
        return
    if len(text) > 1 and text[0] + text[-1] in QUOTES:
        yield f"{name}: the quotes around {clip(text)} are taken as part of the text"
    if r"\n" in text and not _DRIVE.match(text):
        yield rf"{name}: the \n in {clip(text)!r} is two characters, not a line break"
    if _is_file(text) and not text.lower().endswith(_WEIGHTS):
        yield f"{name}: {clip(text)!r} is a file; write {name}=@{clip(text)} to read it"
    elif _TEXT_FILE.fullmatch(text):
        yield f"{name}: {clip(text)!r} is taken as the text itself; there is no such file (@FILE reads one)"


def _is_file(text: str) -> bool:
    try:
        return bool(text.strip()) and os.path.isfile(Path(text).expanduser())
    except (OSError, ValueError, RuntimeError):
        return False
