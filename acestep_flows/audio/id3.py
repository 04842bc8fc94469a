"""The ID3 tag at the start of an MP3 file, in version 2.3, which every player reads.

libsndfile passes UTF-8 to LAME as if it were Latin-1, so a Chinese title would become garbled. This module writes the
tag instead.
"""

from __future__ import annotations

import struct

LATIN_1, UTF_16 = b"\0", b"\1"


def with_id3(mp3: bytes, *, title: str, comment: str, software: str) -> bytes:
    """The MP3 file `mp3` with a tag before its first frame.

    Args:
        mp3: a file without a tag.
        title: any text.
        comment, software: ASCII text.
    """
    frames = (
        _frame(b"TIT2", UTF_16 + title.encode("utf-16")),
        _frame(b"TSSE", LATIN_1 + software.encode("ascii")),
        _frame(b"COMM", LATIN_1 + b"eng" + b"\0" + comment.encode("ascii")),  # language, no description, text
    )
    content = b"".join(frames)
    return b"ID3\3\0\0" + _syncsafe(len(content)) + content + mp3


def _frame(name: bytes, content: bytes) -> bytes:
    return name + struct.pack(">I2x", len(content)) + content


def _syncsafe(size: int) -> bytes:
    """`size` as four bytes of seven bits each, which cannot be mistaken for the start of an MPEG frame."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
