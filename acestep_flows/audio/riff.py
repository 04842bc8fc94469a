"""The chunks of RIFF (WAV) and AIFF files: INFO strings, and detection of truncated files.

libsndfile reads and writes the samples. It drops text above 2 kB from a WAV silently and reads a truncated file as a
shorter one, so this module handles both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

LARGEST_FILE = 2**32 - 1  # sizes are 32 bits wide
UNKNOWN_SIZES = (0, 0xFFFF_FFFF)  # of programs that cannot seek back to write the size

SOUND_CHUNKS = (b"data", b"SSND")


@dataclass(frozen=True)
class Chunk:
    """One chunk: its name, the position of its content, and the content's declared size in bytes."""

    name: bytes
    start: int
    size: int


def chunks(stream: BinaryIO) -> Iterator[Chunk]:
    """The top-level chunks of a RIFF or AIFF stream; none for other streams."""
    stream.seek(0)
    head = stream.read(12)
    form = (head[:4], head[8:12])
    if form == (b"RIFF", b"WAVE"):
        header = struct.Struct("<4sI")
    elif form in ((b"FORM", b"AIFF"), (b"FORM", b"AIFC")):
        header = struct.Struct(">4sI")
    else:
        return
    position = len(head)
    while len(head := stream.read(header.size)) == header.size:
        name, size = header.unpack(head)
        yield Chunk(name, position + header.size, size)
        position += header.size + size + size % 2
        stream.seek(position)


def is_truncated(stream: BinaryIO) -> bool:
    """Whether the sound chunk declares more bytes than the file has."""
    length = stream.seek(0, SEEK_END)
    return any(
        chunk.start + chunk.size > length
        for chunk in chunks(stream)
        if chunk.name in SOUND_CHUNKS and chunk.size not in UNKNOWN_SIZES
    )


def info(stream: BinaryIO) -> dict[str, str]:
    """The strings of a WAV's INFO lists by their four-letter names. Later lists take precedence."""
    strings: dict[str, str] = {}
    for chunk in list(chunks(stream)):
        if chunk.name == b"LIST":
            stream.seek(chunk.start)
            strings |= _strings(stream.read(chunk.size))
    return strings


def with_info(wav: bytes, strings: Mapping[str, str]) -> bytes:
    """The WAV file `wav` with an INFO list at its end. Players that do not know INFO lists skip it."""
    end = _info_list(len(wav), strings)
    content = memoryview(wav)[8:]  # joined once: a long song has many megabytes
    return b"".join((b"RIFF", struct.pack("<I", len(content) + len(end)), content, end))


def add_info(wav: BinaryIO, strings: Mapping[str, str]) -> None:
    """`with_info` of a WAV file that is still open, which is so changed."""
    end = _info_list(wav.seek(0, SEEK_END), strings)
    wav.write(end)
    size = wav.tell() - 8
    wav.seek(4)
    wav.write(struct.pack("<I", size))


def _info_list(length: int, strings: Mapping[str, str]) -> bytes:
    """What an INFO list adds behind a file of `length` bytes."""
    entries = b"".join(_padded(name.encode("ascii"), text.encode() + b"\0") for name, text in strings.items())
    return b"\0" * (length % 2) + _padded(b"LIST", b"INFO" + entries)


def _padded(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _strings(content: bytes) -> dict[str, str]:
    strings: dict[str, str] = {}
    if content[:4] != b"INFO":
        return strings
    position = 4
    while position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        text = content[position + 8 : position + 8 + size].split(b"\0")[0]
        strings[name.decode("latin-1")] = text.decode("utf-8", "replace")
        position += 8 + size + size % 2
    return strings
