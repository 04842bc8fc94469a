"""WAV in its containers: RIFF, RIFX (big-endian), RF64, BW64 and Sony Wave64.

Only the chunks `fmt `, `fact` and `data` are kept. What programs write about sizes is often wrong, above all where they
could not seek back to the header, so a size counts only where it is plausible.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from acestep_flows.audio.containers.container import Container, Part, Unreadable, lacking
from acestep_flows.audio.containers.pieces import Pieces, Slice, Window
from acestep_flows.audio.downmix import of_mask

LARGEST_FORMAT = 4096  # bytes of a fmt chunk
LARGEST_DATA = 2**32 - 65_536
UNKNOWN_FROM = 0x7FFF_0000
"""Sizes from here on are what programs write that do not know the size (sox 0x7ffff000, ffmpeg 0xffffffff ...). So much
audio is refused anyway, as too long."""

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
RIFF_NAMES = (b"RIFF", b"RIFX", b"RF64", b"BW64")
WAVE64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
MOST_CHUNKS = 10_000


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    start: int
    size: int


def is_wave(head: bytes) -> bool:
    """Whether a file begins as a WAV. `head` has at least 40 bytes if the file does."""
    return (head[:4] in RIFF_NAMES and head[8:12] == b"WAVE") or head[:16] == WAVE64


def examine(window: Window) -> Container:
    """The container of a WAV file.

    Raises:
        Unreadable: a chunk that is needed is missing or damaged.
    """
    head = window.read(0, 12)
    order = ">" if head[:4] == b"RIFX" else "<"
    chunks = _wave64_chunks(window) if head[:4] == b"riff" else _riff_chunks(window, order)
    kind = data = fact = None
    for chunk in chunks:
        if chunk.name == b"fmt ":
            kind = kind or _format(window, chunk)
        elif chunk.name == b"fact":
            fact = window.read(chunk.start, 4)
        elif chunk.name == b"data":
            data = chunk
            if kind is not None:
                break
    if kind is None or data is None:
        raise Unreadable(f"no {'fmt' if kind is None else 'data'} chunk")
    return _container(window, kind, data, fact, order)


def _container(window: Window, kind: bytes, data: _Chunk, fact: bytes | None, order: str) -> Container:
    tag, channels, rate, per_second, block = struct.unpack_from(f"{order}HHIIH", kind)
    present = max(0, window.size - data.start)
    known = 0 < data.size < UNKNOWN_FROM or UNKNOWN_FROM <= data.size <= present
    known = known or (data.size == 0 and _only_chunks(window, data.start, order))
    size = min(data.size, present) if known else present
    missing = None
    simple = tag in (PCM, FLOAT, EXTENSIBLE)
    if known and data.size > present:
        speed = block * rate if simple else per_second
        missing = lacking((data.size - present) / max(speed, 1))
    if simple and block:
        size -= size % block
    size = min(size, LARGEST_DATA)
    chunks = _chunk(b"fmt ", kind, order)
    if fact and not simple:
        chunks += _chunk(b"fact", fact, order)
    length = 4 + len(chunks) + 8 + size + size % 2
    name = b"RIFX" if order == ">" else b"RIFF"
    header = name + struct.pack(f"{order}I", length) + b"WAVE" + chunks + b"data" + struct.pack(f"{order}I", size)
    pieces = Pieces([header, Slice(data.start, size), b"\0" * (size % 2)])
    mask = struct.unpack_from(f"{order}I", kind, 20)[0] if tag == EXTENSIBLE and len(kind) >= 24 else 0
    return Container("wav", (Part(pieces),), missing, of_mask(mask, channels))


def _only_chunks(window: Window, position: int, order: str) -> bool:
    """Whether well-formed chunks fill the file from `position`: then a data chunk of size 0 before them is empty."""
    while len(head := window.read(position, 8)) == 8 and head[:4].isascii() and head[:4].decode().isprintable():
        position += 8 + struct.unpack_from(f"{order}I", head, 4)[0]
        position += position % 2
    return position in (window.size, window.size + 1)


def _format(window: Window, chunk: _Chunk) -> bytes:
    content = window.read(chunk.start, min(chunk.size, LARGEST_FORMAT))
    if len(content) < 16 or chunk.size > LARGEST_FORMAT:
        raise Unreadable("a damaged fmt chunk")
    return content


def _chunk(name: bytes, content: bytes, order: str) -> bytes:
    return name + struct.pack(f"{order}I", len(content)) + content + b"\0" * (len(content) % 2)


def _riff_chunks(window: Window, order: str) -> Iterator[_Chunk]:
    position, wide = 12, None
    for _ in range(MOST_CHUNKS):
        head = window.read(position, 8)
        if len(head) < 8:
            return
        name, size = struct.unpack(f"{order}4sI", head)
        if name == b"ds64":  # RF64: the sizes that do not fit
            sizes = window.read(position + 8, 16)
            wide = struct.unpack("<QQ", sizes)[1] if len(sizes) == 16 else None
        if name == b"data" and wide is not None and size == 0xFFFF_FFFF:
            size = wide
        yield _Chunk(name, position + 8, size)
        position += 8 + size + size % 2


def _wave64_chunks(window: Window) -> Iterator[_Chunk]:
    position = 40
    for _ in range(MOST_CHUNKS):
        head = window.read(position, 24)
        if len(head) < 24:
            return
        size = max(0, struct.unpack_from("<Q", head, 16)[0] - 24)  # Wave64 counts the chunk's header
        yield _Chunk(head[:4], position + 24, size)
        position += 24 + size + -size % 8
