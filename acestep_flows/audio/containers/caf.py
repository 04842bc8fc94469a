"""Core Audio Format: the description, what a codec needs (`kuki`, `pakt`), and the data with its true size."""

from __future__ import annotations

import struct

from acestep_flows.audio.containers.container import Container, Part, Unreadable, lacking
from acestep_flows.audio.containers.pieces import Pieces, Slice, Window
from acestep_flows.audio.downmix import of_mask

DESCRIPTION = 32  # bytes
LARGEST_COOKIE = 1 << 16
LARGEST_TABLE = 1 << 26
LARGEST_DATA = 2**33
MOST_CHUNKS = 10_000

LAYOUT_OF_BITMAP = 1 << 16
LAYOUTS = {
    121 << 16 | 6: ("FL", "FR", "FC", "LFE", "SL", "SR"),
    122 << 16 | 6: ("FL", "FR", "SL", "SR", "FC", "LFE"),
    123 << 16 | 6: ("FL", "FC", "FR", "SL", "SR", "LFE"),
    124 << 16 | 6: ("FC", "FL", "FR", "SL", "SR", "LFE"),
}
"""Speakers by Core Audio's layout tags of 5.1 (MPEG 5.1 A to D)."""


def is_caf(head: bytes) -> bool:
    """Whether a file begins as a CAF."""
    return head[:4] == b"caff"


def examine(window: Window) -> Container:
    """The container of a CAF file.

    Raises:
        Unreadable: a chunk that is needed is missing or damaged.
    """
    chunks: dict[bytes, Slice] = {}
    data, position = None, 8
    for _ in range(MOST_CHUNKS):
        head = window.read(position, 12)
        if len(head) < 12:
            break
        name, size = struct.unpack(">4sq", head)
        if name == b"data":
            data = (position + 12, size)
        elif size >= 0:
            chunks.setdefault(name, Slice(position + 12, size))
        if size < 0 or (name == b"data" and size < 4):  # to the end of the file
            break
        position += 12 + size
    description = chunks.get(b"desc")
    if description is None or description.size < DESCRIPTION:
        raise Unreadable("no desc chunk")
    if data is None:
        raise Unreadable("no data chunk")
    return _container(window, chunks, *data)


def _container(window: Window, chunks: dict[bytes, Slice], start: int, declared: int) -> Container:
    description = window.read(chunks[b"desc"].start, DESCRIPTION)
    if len(description) < DESCRIPTION:
        raise Unreadable("a damaged desc chunk")
    rate, _, _, packet, packet_samples, channels, _ = struct.unpack(">d4sIIIII", description)
    present = max(0, window.size - start - 4)
    known = declared > 4
    size = min(declared - 4 if known else present, present, LARGEST_DATA)
    missing = None
    if known and declared - 4 > present and packet and packet_samples and rate >= 1:
        missing = lacking((declared - 4 - present) / packet * packet_samples / rate)
    if packet:
        size -= size % packet
    pieces: list[bytes | Slice] = [b"caff" + struct.pack(">HH", 1, 0) + _head(b"desc", DESCRIPTION) + description]
    for name, largest in ((b"kuki", LARGEST_COOKIE), (b"pakt", LARGEST_TABLE)):
        if (chunk := chunks.get(name)) and chunk.size <= min(largest, window.size - chunk.start):
            pieces += [_head(name, chunk.size), chunk]
    pieces += [_head(b"data", size + 4) + struct.pack(">I", 0), Slice(start + 4, size)]
    samples = _valid_samples(window, chunks) if not packet else None
    return Container("caf", (Part(Pieces(pieces), samples),), missing, _speakers(window, chunks, channels))


def _valid_samples(window: Window, chunks: dict[bytes, Slice]) -> int | None:
    """What the table of packets says of the length of compressed audio."""
    if (chunk := chunks.get(b"pakt")) is None or len(content := window.read(chunk.start, 16)) < 16:
        return None
    samples: int = struct.unpack(">q", content[8:])[0]
    return samples if samples > 0 else None


def _head(name: bytes, size: int) -> bytes:
    return name + struct.pack(">q", size)


def _speakers(window: Window, chunks: dict[bytes, Slice], channels: int) -> tuple[str, ...]:
    if (chunk := chunks.get(b"chan")) is None or len(content := window.read(chunk.start, 8)) < 8:
        return ()
    tag, bitmap = struct.unpack(">II", content)
    return of_mask(bitmap, channels) if tag == LAYOUT_OF_BITMAP else LAYOUTS.get(tag, ())
