"""Files that stand in JSON as base64, taken out while the JSON arrives: never is a file whole in memory.

A long text in base64, with or without `data:...;base64,` before it, is written to an upload as it comes. In the JSON
another text stands for it, which no client can guess.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Callable

from acestep_flows.api.store.artifacts import Upload
from acestep_flows.errors import InputError, TooLarge

SHORTEST = 1 << 16
"""Characters from which on a text in base64 is taken for a file. Shorter ones stay in the JSON."""

LONGEST_NAME = 300
"""Bytes before a file that are looked through for its name."""

PREFIX = re.compile(rb"data:[^,\"\\]{0,200};base64,", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]+")
_NAME = re.compile(rb'"([^"\\]*)"\s*:\s*\[?\s*"\Z')
_PLAIN = re.compile(rb'[^"\\]*')
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


class EmbeddedFiles:
    """Reads JSON in pieces, and takes files out of it.

    Args:
        most: bytes that the JSON may have without its files.
        begin: begins an upload, which the caller closes.

    Attributes:
        json: the JSON so far, with texts in the place of files.
        uploads: the files so far, by these texts.
        fields: the names under which they stood, likewise.
    """

    def __init__(self, most: int, begin: Callable[[], Upload]) -> None:
        self._most, self._begin = most, begin
        self.json = bytearray()
        self.uploads: dict[str, Upload] = {}
        self.fields: dict[str, str] = {}
        self._start: int | None = None  # of the text at hand within `json`; None between texts
        self._escaped = self._looked_at = False
        self._upload: Upload | None = None
        self._rest = b""

    @property
    def in_file(self) -> bool:
        """Whether a file is at hand, so that `feed` writes."""
        return self._upload is not None

    def feed(self, chunk: bytes) -> None:
        """Take the next piece. Blocks while a file is written.

        Raises:
            InputError: a file is not base64, or too large.
            TooLarge: the JSON is too large.
        """
        at = 0
        while at < len(chunk):
            if self._upload is not None:
                at = self._feed_file(chunk, at)
            elif self._start is not None:
                at = self._feed_text(chunk, at)
            else:
                end = chunk.find(b'"', at) + 1 or len(chunk)
                self._keep(chunk[at:end])
                if chunk[end - 1 : end] == b'"':
                    self._start, self._looked_at = len(self.json), False
                at = end

    def finish(self) -> dict[str, Upload]:
        """The files, when all has come. Blocks.

        Raises:
            InputError: the last one is not complete.
        """
        if self._upload is not None:
            raise InputError("ends within a file", where=self._field, allowed="a JSON object")
        return self.uploads

    @property
    def _field(self) -> str:
        """The name of the file at hand."""
        return next(reversed(self.fields.values()))

    def _feed_text(self, chunk: bytes, at: int) -> int:
        assert self._start is not None
        if self._escaped:
            self._escaped = False
            self._keep(chunk[at : at + 1])
            return at + 1
        plain = _PLAIN.match(chunk, at)
        assert plain is not None
        end = plain.end()
        if not self._looked_at:  # what it is, its beginning says, however much has come
            end = max(at, min(end, at + SHORTEST - (len(self.json) - self._start)))
        self._keep(chunk[at:end])
        if not self._looked_at and len(self.json) - self._start >= SHORTEST:
            self._look()
            return end
        if end < len(chunk):
            self._escaped = chunk[end : end + 1] == b"\\"
            self._keep(chunk[end : end + 1])
            end += 1
            if not self._escaped:
                self._start = None
        return end

    def _look(self) -> None:
        """Begin a file if the text at hand is one."""
        assert self._start is not None
        self._looked_at = True
        text = bytes(self.json[self._start :]).replace(b"\\/", b"/")
        prefix = PREFIX.match(text)
        content = text[prefix.end() :] if prefix is not None else text
        if not _BASE64.fullmatch(content.rstrip(b"=")):
            return
        marker = f"file-{secrets.token_hex(16)}"
        self.fields[marker] = _name_before(bytes(self.json[max(0, self._start - LONGEST_NAME) : self._start]))
        del self.json[self._start :]
        self.json += marker.encode()
        self._upload = self.uploads[marker] = self._begin()
        self._rest = b""
        self._write(content)

    def _feed_file(self, chunk: bytes, at: int) -> int:
        end = chunk.find(b'"', at)
        self._write(chunk[at:] if end < 0 else chunk[at:end])
        if end < 0:
            return len(chunk)
        self._write(b"=" * (-len(self._rest) % 4))  # some leave the padding out
        self._upload, self._start = None, None
        self._keep(b'"')
        return end + 1

    def _write(self, text: bytes) -> None:
        """Decode whole groups of four characters; the others wait."""
        assert self._upload is not None
        text = (self._rest + text).replace(b"\\/", b"/").translate(_URL_SAFE)
        whole = len(text) - len(text) % 4 if not text.endswith(b"\\") else (len(text) - 1) // 4 * 4
        self._rest = text[whole:]
        if len(self._rest) > 4:
            raise InputError("not base64", where=self._field, allowed="base64")
        try:
            self._upload.write(binascii.a2b_base64(text[:whole], strict_mode=True))
        except binascii.Error:
            raise InputError("not base64", where=self._field, allowed="base64") from None

    def _keep(self, part: bytes) -> None:
        self.json += part
        if len(self.json) > self._most:
            raise TooLarge(f"the body has more than {self._most} bytes beside its files; that is the limit")


def _name_before(json: bytes) -> str:
    """The name of the text that begins where a piece of JSON ends."""
    name = _NAME.search(json)
    return name[1].decode("utf-8", "replace") if name is not None else "body"
