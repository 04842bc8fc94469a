"""Ogg: every link of a chain becomes a file of its own, with one stream and a page that is marked as the last."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from acestep_flows.audio.containers.container import TOLERANCE, Container, Missing, Part, Unreadable
from acestep_flows.audio.containers.pieces import Pieces, Slice, Window

CAPTURE = b"OggS"
PAGE = re.compile(CAPTURE)
HEADER = 27  # bytes
CONTINUED, FIRST, LAST = 1, 2, 4  # bits of a page's type
NO_GRANULE = 2**64 - 1
OPUS_RATE = 48_000

AUDIO = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac", b"Speex   ": "speex"}
"""Codecs by the start of their first packet."""


@dataclass(frozen=True)
class _Page:
    start: int
    size: int
    kind: int
    granule: int
    serial: int
    complete: bool

    @property
    def slice(self) -> Slice:
        return Slice(self.start, self.size)


@dataclass
class _LogicalStream:
    """One link's audio: pages that belong together."""

    serial: int
    codec: str
    rate: int
    pages: list[_Page] = field(default_factory=list)

    def part(self, window: Window) -> Part:
        pieces: list[bytes | Slice] = []
        for page in self.pages[:-1]:
            last = pieces[-1] if pieces else None
            if isinstance(last, Slice) and last.start + last.size == page.start:
                pieces[-1] = Slice(last.start, last.size + page.size)
            else:
                pieces.append(page.slice)
        end = self.pages[-1]
        pieces.append(end.slice if end.kind & LAST else _marked_last(window.read(end.start, end.size)))
        return Part(Pieces(pieces), rate=self.rate or None)

    def reached(self) -> int:
        """The last position that a page tells, in samples."""
        return max((page.granule for page in self.pages if page.granule != NO_GRANULE), default=0)


def is_ogg(head: bytes) -> bool:
    """Whether a file begins as an Ogg."""
    return head[:4] == CAPTURE


def examine(window: Window, start: int) -> Container:
    """The container of an Ogg file that begins at byte `start`.

    Raises:
        Unreadable: it has no audio that can be read.
    """
    links: list[_LogicalStream] = []
    streams: dict[int, _LogicalStream] = {}
    opening = False  # among the first pages of a link
    missing: Missing | None = None
    for page in _pages(window, start):
        if page.complete and page.kind & FIRST:
            if not opening:
                streams = {}
            opening = True
            stream = _stream(window, page)
            if stream is not None and not streams:  # the first audio stream of the link
                streams[page.serial] = stream
                links.append(stream)
        elif page.complete:
            opening = False
        if (owner := streams.get(page.serial)) is None:
            missing = missing if page.complete else Missing(None)
        elif page.complete:
            owner.pages.append(page)
        else:
            missing = _missing(owner, page)
    links = [stream for stream in links if stream.pages]
    if not links:
        raise Unreadable("an Ogg file without audio")
    if links[-1].pages[-1].kind & LAST and missing is not None and missing.seconds is None:
        missing = None  # what follows a last page is no audio
    return Container("ogg", tuple(stream.part(window) for stream in links), missing)


def _missing(stream: _LogicalStream, page: _Page) -> Missing | None:
    """What an incomplete page lacks. Its header may say where it would have ended."""
    if page.granule == NO_GRANULE or not stream.rate or page.granule <= stream.reached():
        return Missing(None)
    seconds = (page.granule - stream.reached()) / stream.rate
    if seconds <= TOLERANCE and page.kind & LAST:
        return None
    return Missing(seconds, at_least=not page.kind & LAST)


def _pages(window: Window, position: int) -> Iterator[_Page]:
    """All pages; the last one may be incomplete."""
    while position < window.size:
        head = window.read(position, HEADER + 255)
        if head[:4] != CAPTURE:
            if CAPTURE.startswith(head):  # cut inside the four letters
                yield _Page(position, len(head), 0, NO_GRANULE, -1, complete=False)
                return
            position = window.find(PAGE, len(CAPTURE), position + 1)
            continue
        segments = head[26] if len(head) >= HEADER else 0
        table = head[HEADER : HEADER + segments]
        if len(head) < HEADER or len(table) < segments:
            yield _Page(position, len(head), 0, NO_GRANULE, -1, complete=False)
            return
        kind, granule, serial = struct.unpack_from("<BQI", head, 5)
        size = HEADER + segments + sum(table)
        complete = position + size <= window.size
        yield _Page(position, min(size, window.size - position), kind, granule, serial, complete)
        position += size


def _stream(window: Window, page: _Page) -> _LogicalStream | None:
    """The audio stream that a first page begins; None for video, text and such."""
    content = window.read(page.start, page.size)
    packet = content[HEADER + content[26] :]
    for start, codec in AUDIO.items():
        if packet.startswith(start):
            rate = OPUS_RATE if codec == "opus" else 0
            if codec == "vorbis" and len(packet) >= 16:
                rate = struct.unpack_from("<I", packet, 12)[0]
            return _LogicalStream(page.serial, codec, rate)
    return None


def _marked_last(page: bytes) -> bytes:
    """A page with the mark of the last, and the check sum that belongs to it."""
    content = bytearray(page)
    content[5] |= LAST
    content[22:26] = bytes(4)
    struct.pack_into("<I", content, 22, _check_sum(content))
    return bytes(content)


def _check_sum(content: bytes | bytearray) -> int:
    """CRC-32 with polynomial 0x04c11db7, unreflected, from 0."""
    table = _table()
    value = 0
    for byte in content:
        value = (value << 8 & 0xFFFF_FFFF) ^ table[value >> 24 ^ byte]
    return value


def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C1_1DB7) & 0xFFFF_FFFF if value & 1 << 31 else value << 1
        table.append(value)
    return table
