"""Digests of the content behind the paths of a recipe: a run depends on the files, and the recipe only names them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from acestep_flows.model.digests import FileDigests

_digests = FileDigests()
"""Each file is read once per process, as long as its size, inode and times stay as they are."""


def stamp_files(root: Path, files: Iterable[Path]) -> str:
    """sha256 of the files' names relative to `root`, and of their content. Reads files that are new to this process."""
    return _digest(root, files, lambda file, status: [_digests.sha256(file)])


def stamp_by_time(root: Path, files: Iterable[Path]) -> str:
    """The stamp of 0.1.0: sha256 of names relative to `root`, sizes and modification times. Nothing is read."""
    return _digest(root, files, lambda file, status: [status.st_size, status.st_mtime_ns])


def json_digest(value: object) -> str:
    """sha256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _digest(root: Path, files: Iterable[Path], content: Callable[[Path, os.stat_result], list[object]]) -> str:
    """sha256 of the files' names and of what `content` says of each. What is gone or cannot be read is left out."""
    entries = []
    for file in files:
        with contextlib.suppress(OSError):
            status = file.stat()
            if stat.S_ISREG(status.st_mode):  # a pipe has no content to read
                entries.append([str(file.relative_to(root)), *content(file, status)])
    return json_digest(entries)
