"""A file put together anew from pieces of another: bytes of our own, and slices of the file.

So a decoder sees a header that is true, and no sample is copied.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from io import SEEK_END
from typing import BinaryIO

WINDOW_BYTES = 1 << 18


@dataclass(frozen=True)
class Slice:
    """A stretch of the file, in bytes."""

    start: int
    size: int


class Pieces:
    """A virtual file: bytes and slices, one after another.

    Attributes:
        size: bytes of all of them.
    """

    def __init__(self, pieces: Iterable[bytes | Slice]) -> None:
        self._pieces: list[bytes | Slice] = []
        self._starts: list[int] = []
        self.size = 0
        for piece in pieces:
            length = piece.size if isinstance(piece, Slice) else len(piece)
            if length > 0:
                self._pieces.append(piece)
                self._starts.append(self.size)
                self.size += length

    def read(self, file: BinaryIO, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start`; fewer where the virtual file or `file` ends."""
        content: list[bytes] = []
        index = bisect_right(self._starts, start) - 1
        while size > 0 and 0 <= index < len(self._pieces) and start < self.size:
            piece, offset = self._pieces[index], start - self._starts[index]
            if isinstance(piece, Slice):
                file.seek(piece.start + offset)
                part = file.read(min(size, piece.size - offset))
            else:
                part = piece[offset : offset + size]
            if not part:
                break
            content.append(part)
            start, size, index = start + len(part), size - len(part), index + 1
        return b"".join(content)


class Window:
    """Reads small fields anywhere in a file, through a buffer.

    Attributes:
        size: bytes of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start, self._buffer = 0, b""
        self.size = file.seek(0, SEEK_END)

    def read(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start`; fewer where the file ends."""
        if not 0 <= start < self.size:
            return b""
        offset = start - self._start
        if offset < 0 or offset + size > len(self._buffer):
            self._file.seek(start)
            self._start, self._buffer = start, self._file.read(max(size, WINDOW_BYTES))
            offset = 0
        return self._buffer[offset : offset + size]

    def find(self, pattern: re.Pattern[bytes], length: int, start: int) -> int:
        """Where `pattern`, `length` bytes long, next stands from `start`; the end of the file if nowhere."""
        while start < self.size:
            offset = start - self._start
            if not 0 <= offset <= len(self._buffer) - length:
                self.read(start, length)
                offset = 0
            if (found := pattern.search(self._buffer, offset)) is not None:
                return self._start + found.start()
            if len(self._buffer) - offset < length:
                break
            start = self._start + len(self._buffer) - length + 1
        return self.size


def whole(file: BinaryIO) -> Pieces:
    """The file as it is."""
    return Pieces([Slice(0, file.seek(0, SEEK_END))])
