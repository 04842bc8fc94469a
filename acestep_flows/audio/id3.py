"""The ID3 tag at the head of an MP3 file, version 2.3, which every player reads.

Written here because libsndfile hands UTF-8 to LAME as if it were Latin-1: a Chinese title came back as noise.
"""

from __future__ import annotations

import struct

LATIN_1, UTF_16 = b"\0", b"\1"


def with_id3(mp3: bytes, *, title: str, comment: str, software: str) -> bytes:
    """`mp3`, which has no tag yet, with one before its first frame; `comment` and `software` are ASCII."""
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
    """`size` in four bytes of seven bits, so that it cannot look like the start of an MPEG frame."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
