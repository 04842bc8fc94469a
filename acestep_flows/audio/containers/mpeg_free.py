"""MP3 of free format: its headers name no bit rate, so the distance between two of them is the size of every frame."""

from __future__ import annotations

from acestep_flows.audio.containers.container import Container, Part, Unreadable
from acestep_flows.audio.containers.mpeg_frame import Frame, frame
from acestep_flows.audio.containers.pieces import Pieces, Slice, Window

LARGEST_FRAME = 8192
"""Bytes in which the second header is looked for. Decoders take no more than 640 kbit/s, or 2881 bytes."""

CERTAIN = 3
"""Frames one after another that make sure of it, if the file does not end before."""

TAGS = (b"TAG", b"APETAGEX", b"ID3", b"LYRICS", bytes(8))
"""What may follow the frames."""


def examine(window: Window, start: int) -> Container | None:
    """The container of a file whose first frame of free format begins at byte `start`; None if none does.

    Raises:
        Unreadable: something else than tags follows the frames.
    """
    first = _free(window.read(start, 4))
    if first is None:
        return None
    content = window.read(start, LARGEST_FRAME)
    for size in range(24, len(content) - 3):
        if content[size] == 0xFF and _follows(content[size : size + 4], first):
            # A frame may be one slot longer than others; what is sought is the shorter size.
            plain = size - _padding(content[:4], first)
            if (frames := _frames(window, start, plain, first))[0] >= CERTAIN or frames[1] == window.size:
                count, end = frames
                _check_rest(window, end)
                part = Part(Pieces([Slice(start, end - start)]), count * first.samples, first.rate)
                return Container("mp3", (part,))
    return None


def _check_rest(window: Window, end: int) -> None:
    if window.size - end > LARGEST_FRAME and not window.read(end, 8).startswith(TAGS):
        raise Unreadable(f"MP3 of free format that goes on as something else at byte {end}")


def _frames(window: Window, position: int, size: int, kind: Frame) -> tuple[int, int]:
    """How many frames of `size` bytes follow one another from `position`, and where they end."""
    count = 0
    while True:
        header = window.read(position, 4)
        end = position + size + _padding(header, kind)
        if not _follows(header, kind) or end > window.size:
            return count, position
        count, position = count + 1, end


def _free(header: bytes) -> Frame | None:
    found = frame(header)
    return found if found is not None and found.size == 0 else None


def _follows(header: bytes, kind: Frame) -> bool:
    found = _free(header)
    return found is not None and found.key == kind.key


def _padding(header: bytes, kind: Frame) -> int:
    """Bytes by which this frame is longer than others."""
    return (header[2] >> 1 & 1) * (4 if kind.layer == 1 else 1) if len(header) > 2 else 0
