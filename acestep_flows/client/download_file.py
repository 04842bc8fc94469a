"""A resumable download: bytes are collected in a file beside the destination, which is renamed when it is complete.

The bytes stay after a lost connection, and this call or a later one resumes from them. The server's ETag is the sha256
of the content, which is checked before the file is renamed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.errors import DownloadError, StorageError
from acestep_flows.storage import file_sha256, put_in_place

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_DIGEST = re.compile(r'"([0-9a-f]{64})"')


class ResumableFile:
    """One file of a resumable download.

    Args:
        destination: final path of the file.
        source: identifies the content, so that only the same content is resumed.

    Attributes:
        advanced: whether the latest attempt received bytes.

    Raises:
        StorageError: the folder cannot be made.
    """

    def __init__(self, destination: Path, source: str) -> None:
        self.destination = destination
        name = hashlib.sha256(source.encode()).hexdigest()[:16]
        self._part = destination.parent / f".{name}.part"
        self._digest = ""
        self._received = 0
        self.advanced = False
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def headers(self) -> dict[str, str]:
        """Headers of a request for the missing bytes."""
        self.advanced = False
        size = self._size()
        return {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})

    def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Check the head of a response. Returns False if no bytes are missing, so that its body need not be read.

        Raises:
            DownloadError: more bytes were received than the file has. The next attempt starts over.
        """
        tag = _DIGEST.fullmatch(headers.get("ETag", ""))
        self._digest = tag[1] if tag else ""
        size = self._size()
        if status == 416:
            if headers.get("Content-Range", "") == f"bytes */{size}":
                return False
            self._start_over()
            raise DownloadError(f"{self.destination.name}: the server's file is shorter than the bytes received before")
        part = _RANGE.match(headers.get("Content-Range", ""))
        if status != 206 or part is None or int(part[1]) != size:
            self._start_over()
        self._received = self._size()
        return True

    def write(self, chunk: bytes) -> int:
        """Append bytes. Returns the number of bytes received so far.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            with self._part.open("ab") as file:
                file.write(chunk)
        except OSError as error:
            raise self._unwritable(error) from error
        self.advanced = True
        self._received += len(chunk)
        return self._received

    def finish(self) -> Path:
        """Check the content and rename the file to its destination.

        Raises:
            DownloadError: the content has another digest. The next attempt starts over.
            StorageError: the file cannot be written.
        """
        try:
            self._part.touch()  # an empty file has no chunks
            if self._digest and file_sha256(self._part) != self._digest:
                self._start_over()
                raise DownloadError(f"{self.destination.name}: the content differs from the server's sha256; try again")
            put_in_place(self._part, self.destination)
        except OSError as error:
            raise self._unwritable(error) from error
        return self.destination

    def _size(self) -> int:
        try:
            return self._part.stat().st_size
        except OSError:
            return 0

    def _start_over(self) -> None:
        self._part.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(f"{self.destination}: cannot be written: {error.strerror or error}")
