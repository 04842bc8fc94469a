"""sha256 of large files, cached by path, inode, size and the times of the last changes.

Every start needs the digest of the checkpoint, and reading a full-size checkpoint takes several seconds. A program can
set a file's modification time, but not its change time (ctime), so a file that was replaced by one of equal size and
modification time is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from acestep_flows import storage
from acestep_flows.errors import StorageError

SETTLED_NS = 2_000_000_000
"""How old the last change must be for a stamp to be trusted: file systems count time in steps of up to two seconds."""


class FileDigests:
    """A cache of file digests: in memory, and on disk where a `folder` is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[Path, tuple[list[int], str]] = {}

    def sha256(self, file: Path) -> str:
        """The hex digest of the present content of `file`."""
        file = file.resolve()
        stamp, now = _stamp(file), time.time_ns()
        cached = self._known.get(file) or self._read(file)
        if cached and cached[0] == stamp:
            self._known[file] = cached
            return cached[1]
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        recent = any(0 <= now - changed < SETTLED_NS for changed in stamp[-2:])
        if _stamp(file) == stamp and not recent:  # otherwise a change since the reading began may not show in the stamp
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
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
