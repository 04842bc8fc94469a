"""Text files that people name on the command line."""

from __future__ import annotations

import codecs
from pathlib import Path

from acestep_flows.errors import InputError

MAX_BYTES = 16_000_000
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def expanded(path: str, name: str) -> Path:
    """The path, with `~` as the home folder.

    Raises:
        InputError: the user behind `~` is not known here.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(f"no home folder for {path[:80]!r}", where=name, allowed="a path") from None


def read_text_file(path: str, name: str) -> str:
    """The text in a file, with plain line ends and without the mark that some editors put first.

    Args:
        path: `~` at its start is the home folder.
        name: what the text is for, in errors.

    Raises:
        InputError: the file cannot be read, is too large, or is no text in UTF-8 (or UTF-16 with its mark).
    """
    if not path.strip():
        raise InputError("@ names no file", where=name, allowed="@FILE, or @@ for a text that begins with @")
    file = expanded(path, name)
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {file}: {reason}", where=name, allowed="a readable file") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{file} is too large", where=name, allowed=f"at most {MAX_BYTES} bytes of text")
    try:
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"{file} is not UTF-8 text (byte {error.start})"
        raise InputError(what, where=name, allowed="a file saved as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")
