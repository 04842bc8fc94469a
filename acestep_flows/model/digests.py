"""sha256 of large files, cached by path, size and modification time.

Every start needs the digest of the checkpoint, and reading a full-size checkpoint takes several seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from acestep_flows import storage
from acestep_flows.errors import StorageError


class FileDigests:
    """A cache of file digests: in memory, and on disk where a `folder` is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[Path, tuple[list[int], str]] = {}

    def sha256(self, file: Path) -> str:
        """The hex digest of the present content of `file`."""
        file = file.resolve()
        stamp = _stamp(file)
        cached = self._known.get(file) or self._read(file)
        if cached and cached[0] == stamp:
            self._known[file] = cached
            return cached[1]
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if _stamp(file) == stamp:  # otherwise the file was written to while it was read
            self._known[file] = (stamp, digest)
            self._write(file, stamp, digest)
        return digest

    def _entry(self, file: Path) -> Path | None:
        return self._folder and self._folder / f"{hashlib.sha256(os.fsencode(file)).hexdigest()}.json"

    def _read(self, file: Path) -> tuple[list[int], str] | None:
        entry = self._entry(file)
        # An absent or damaged entry only costs the time to compute the digest again.
        with suppress(OSError, ValueError, KeyError, TypeError):
            if entry:
                content = json.loads(entry.read_text(encoding="utf-8"))
                return [int(number) for number in content["stamp"]], str(content["sha256"])
        return None

    def _write(self, file: Path, stamp: list[int], digest: str) -> None:
        entry = self._entry(file)
        if entry is None:
            return
        content = json.dumps({"file": os.fspath(file), "stamp": stamp, "sha256": digest})
        with suppress(StorageError):  # a cache folder that cannot be written is no reason to fail
            storage.write(entry, content.encode())


def _stamp(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]
