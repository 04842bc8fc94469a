"""Parses `multipart/form-data` (RFC 7578) piece by piece: what has arrived of a part's content is passed on at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.utils import collapse_rfc2231_value
from enum import Enum, auto

LONGEST_HEADERS = 16_384
"""Bytes of the headers of one part."""

MOST_PARTS = 100
MOST_PARAMETERS = 100
"""Parameters of one header. The reader of the standard library takes time that grows with their square."""


@dataclass(frozen=True)
class FormPart:
    """The begin of a part. `file_name` is None for a field that is not a file."""

    name: str
    file_name: str | None


class _State(Enum):
    CONTENT = auto()
    BOUNDARY = auto()
    HEADERS = auto()
    END = auto()


class FormParser:
    """A form of which bytes arrive in pieces of any size.

    Args:
        boundary: the boundary that the header Content-Type names.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # as if a line had ended before the first boundary
        self._state = _State.CONTENT
        self._in_part = False
        self._parts = self._searched = 0

    @property
    def ended(self) -> bool:
        """Whether the last boundary was read. What follows it is ignored."""
        return self._state is _State.END

    def feed(self, received: bytes) -> Iterator[FormPart | bytes]:
        """The parts that begin in these bytes, and their contents.

        Raises:
            ValueError: this is not a form.
        """
        self._buffer += received
        while not self.ended:
            if self._state is _State.CONTENT:
                content = self._take_content()
                if content and self._in_part:
                    yield content
                if self._state is _State.CONTENT:
                    return
            elif self._state is _State.BOUNDARY:
                if not self._take_end_of_boundary():
                    return
            else:
                part = self._take_headers()
                if part is None:
                    return
                yield part

    def _take_content(self) -> bytes:
        """The content up to the next boundary, or as far as it cannot be the begin of one."""
        end = self._buffer.find(self._delimiter)
        if end >= 0:
            self._state = _State.BOUNDARY
            return self._take(end, len(self._delimiter))
        return self._take(max(0, len(self._buffer) - len(self._delimiter) + 1))

    def _take_end_of_boundary(self) -> bool:
        """What follows a boundary: a line break before headers, or two dashes at the end. False if it is not there."""
        if len(self._buffer) < 2:
            return False
        mark = self._take(2)
        if mark not in (b"\r\n", b"--"):
            raise ValueError("no line break after a boundary")
        self._state = _State.END if mark == b"--" else _State.HEADERS
        return True

    def _take_headers(self) -> FormPart | None:
        """The headers of a part; None if they are incomplete."""
        end = self._buffer.find(b"\r\n\r\n", max(0, self._searched - 3))
        self._searched = len(self._buffer) if end < 0 else 0
        if end > LONGEST_HEADERS or (end < 0 and len(self._buffer) > LONGEST_HEADERS):
            raise ValueError("long headers")
        if end < 0:
            return None
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise ValueError("many parts")
        self._state, self._in_part = _State.CONTENT, True
        return _part(self._take(end, 4).decode("utf-8", "replace"))

    def _take(self, size: int, more: int = 0) -> bytes:
        """Remove bytes from the buffer, and `more` behind them that are not returned."""
        taken = bytes(self._buffer[:size])
        del self._buffer[: size + more]
        return taken


def _part(headers: str) -> FormPart:
    for line in headers.split("\r\n"):
        header, _, text = line.partition(":")
        if header.strip().lower() == "content-disposition":
            if text.count(";") > MOST_PARAMETERS:
                raise ValueError("many parameters")
            message = Message()
            message["content-disposition"] = text.strip()
            name, file_name = (message.get_param(key, header="content-disposition") for key in ("name", "filename"))
            if name is not None:
                return FormPart(
                    collapse_rfc2231_value(name), None if file_name is None else collapse_rfc2231_value(file_name)
                )
    raise ValueError("a part without a name")
