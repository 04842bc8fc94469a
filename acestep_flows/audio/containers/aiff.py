"""AIFF and AIFF-C: the chunks `COMM` and `SSND` are kept, with their true sizes."""

from __future__ import annotations

import math
import struct

from acestep_flows.audio.containers.container import Container, Missing, Part, Unreadable, lacking
from acestep_flows.audio.containers.pieces import Pieces, Slice, Window

LARGEST_COMM = 1024
UNKNOWN_FROM = 0x7FFF_0000
LARGEST_DATA = 2**31
MOST_CHUNKS = 10_000
VERSION = b"FVER" + struct.pack(">II", 4, 0xA280_5140)

SAMPLE_BYTES = {
    b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8, b"ulaw": 1, b"ULAW": 1, b"alaw": 1, b"ALAW": 1,
}  # fmt: skip
"""Bytes of a sample by compression type, where the declared bits do not say it."""

LINEAR = (b"NONE", b"sowt", b"twos", b"in24", b"in32", b"42ni", b"23ni", b"raw ")


def is_aiff(head: bytes) -> bool:
    """Whether a file begins as an AIFF."""
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


def examine(window: Window) -> Container:
    """The container of an AIFF file.

    Raises:
        Unreadable: a chunk that is needed is missing or damaged.
    """
    form, common, sound, position = window.read(8, 4), b"", None, 12
    for _ in range(MOST_CHUNKS):
        head = window.read(position, 8)
        if len(head) < 8:
            break
        name, size = struct.unpack(">4sI", head)
        if name == b"COMM":
            common = window.read(position + 8, min(size, LARGEST_COMM))
        elif name == b"SSND":
            sound = (position + 8, size)
            if common or not 0 < size < UNKNOWN_FROM:
                break
        position += 8 + size + size % 2
    if len(common) < 18 or sound is None:
        raise Unreadable("no COMM chunk" if len(common) < 18 else "no SSND chunk")
    return _container(window, form, common, *sound)


def _container(window: Window, form: bytes, common: bytes, start: int, declared: int) -> Container:
    channels, samples, bits = struct.unpack_from(">hIh", common)
    rate = _extended(common[8:18])
    offset = struct.unpack(">I", window.read(start, 4).ljust(4, b"\0"))[0]
    first = start + 8 + (offset if offset < window.size else 0)
    present = max(0, window.size - first)
    known = 8 < declared < UNKNOWN_FROM
    wanted = declared - (first - start) if known else 0
    if wanted <= 0:
        known = False
    size = min(wanted, present, LARGEST_DATA) if known else min(present, LARGEST_DATA)
    width = _sample_bytes(form, common, bits) * max(channels, 0)
    missing: Missing | None = None
    if width:
        size -= size % width
        if not known and 0 < samples < UNKNOWN_FROM:
            wanted = samples * width
            size = min(size, wanted)
        if rate > 0 and wanted > present:
            missing = lacking((wanted - present) / width / rate)
        common = common[:2] + struct.pack(">I", size // width) + common[6:]
    chunks = VERSION if form == b"AIFC" else b""
    chunks += b"COMM" + struct.pack(">I", len(common)) + common + b"\0" * (len(common) % 2)
    chunks += b"SSND" + struct.pack(">III", size + 8, 0, 0)
    header = b"FORM" + struct.pack(">I", 4 + len(chunks) + size + size % 2) + form + chunks
    pieces = Pieces([header, Slice(first, size), b"\0" * (size % 2)])
    return Container("aiff", (Part(pieces),), missing)


def _sample_bytes(form: bytes, common: bytes, bits: int) -> int:
    """Bytes of one sample of one channel; 0 for compression types that have none."""
    kind = common[18:22] if form == b"AIFC" else b"NONE"
    if kind in SAMPLE_BYTES:
        return SAMPLE_BYTES[kind]
    return -(-bits // 8) if kind in LINEAR and bits > 0 else 0


def _extended(content: bytes) -> float:
    """An 80-bit floating-point number; 0 for what is no sample rate."""
    exponent, mantissa = struct.unpack(">HQ", content)
    if not 16_383 <= exponent < 16_383 + 32:
        return 0.0
    return math.ldexp(mantissa, exponent - 16_383 - 63)
