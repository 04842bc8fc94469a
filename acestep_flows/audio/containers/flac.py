"""FLAC: the stream description is kept; pictures, tables, and what stands before and after the stream are dropped."""

from __future__ import annotations

import struct

from acestep_flows.audio.containers.container import Container, Part, Unreadable
from acestep_flows.audio.containers.pieces import Pieces, Slice, Window
from acestep_flows.audio.containers.tag_blocks import end_of_audio

STREAMINFO = 34  # bytes
LAST_BLOCK = 0x80


def is_flac(head: bytes) -> bool:
    """Whether a file begins as a FLAC, behind any ID3 tag."""
    return head[:4] == b"fLaC"


def examine(window: Window, start: int) -> Container:
    """The container of a FLAC file whose stream begins at byte `start`.

    Raises:
        Unreadable: the description of the stream is missing, or a block is longer than the file.
    """
    position, stream = start + 4, b""
    while True:
        head = window.read(position, 4)
        if len(head) < 4:
            raise Unreadable("the file ends in its header")
        kind, size = head[0], int.from_bytes(head[1:], "big")
        if kind & 0x7F == 0 and not stream:
            stream = window.read(position + 4, STREAMINFO)
        position += 4 + size
        if kind & LAST_BLOCK:
            break
    if len(stream) < STREAMINFO or position > window.size:
        raise Unreadable("the file ends in its header" if stream else "no description of the stream")
    packed = int.from_bytes(stream[10:18], "big")  # rate, channels, bits; then 36 bits of length
    samples, rate = packed & (1 << 36) - 1, packed >> 44
    header = b"fLaC" + struct.pack(">I", LAST_BLOCK << 24 | STREAMINFO) + stream
    content = Pieces([header, Slice(position, end_of_audio(window) - position)])
    return Container("flac", (Part(content, samples or None, rate),))
