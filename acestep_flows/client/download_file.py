"""A file on its way here: its bytes gather beside the destination, and it takes its name when it is whole.

What has arrived stays there when the connection is lost, for this call or a later one to go on from. A server names
the content by its sha256, which is checked before the file takes its name.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.errors import DownloadError, StorageError
from acestep_flows.storage import put_in_place
from acestep_flows.weights.download import file_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_DIGEST = re.compile(r'"([0-9a-f]{64})"')


class ResumableFile:
    """One file.

    Args:
        destination: its name in the end.
        source: where it comes from: the same bytes every time.

    Attributes:
        advanced: whether the latest attempt brought bytes.
    """

    def __init__(self, destination: Path, source: str) -> None:
        self.destination = destination
        name = hashlib.sha256(source.encode()).hexdigest()[:16]
        self._part = destination.parent / f".{name}.part"
        self._digest = ""
        self._there = 0
        self.advanced = False
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def headers(self) -> dict[str, str]:
        """Of a request for what is missing."""
        self.advanced = False
        there = self._size()
        return {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})

    def begin(self, status: int, headers: Mapping[str, str]) -> bool:
        """Look at how the answer begins; False where nothing is missing, so that no body is to be read."""
        found = _DIGEST.fullmatch(headers.get("ETag", ""))
        self._digest = found[1] if found else ""
        there = self._size()
        if status == 416:
            if headers.get("Content-Range", "") == f"bytes */{there}":
                return False
            self._start_over()
            raise DownloadError(f"{self.destination.name}: the server has fewer bytes than are here already")
        part = _RANGE.match(headers.get("Content-Range", ""))
        if status != 206 or part is None or int(part[1]) != there:
            self._start_over()
        self._there = self._size()
        return True

    def write(self, piece: bytes) -> int:
        """Add bytes; how many there are now."""
        try:
            with self._part.open("ab") as file:
                file.write(piece)
        except OSError as error:
            raise self._unwritable(error) from error
        self.advanced = True
        self._there += len(piece)
        return self._there

    def finish(self) -> Path:
        """Give the file its name.

        Raises:
            DownloadError: it is not what the server named; the next attempt begins anew.
            StorageError: it cannot be written.
        """
        try:
            self._part.touch()  # an empty file has no pieces
            if self._digest and file_sha256(self._part) != self._digest:
                self._start_over()
                raise DownloadError(f"{self.destination.name}: other content than the server named")
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
