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
_FILE_NAME = re.compile(
    r"[^\s\[\],]+\.(?:txt|text|md|lrc|srt|json|jsonl|yaml|yml|csv|tsv|rtf|docx?|odt|pdf|wav|flac|mp3|ogg)",
    re.IGNORECASE,
)
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
    elif _FILE_NAME.fullmatch(text):
        what = f"{name}: {clip(text)!r} looks like the name of a file and is taken as words"
        yield f"{what}; {name}=@FILE reads a file, and there is none of this name"


def _is_file(text: str) -> bool:
    try:
        return bool(text.strip()) and os.path.isfile(Path(text).expanduser())
    except (OSError, ValueError, RuntimeError):
        return False
