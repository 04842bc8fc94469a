"""Digests of the content behind the paths of a recipe: a run depends on the files, and the recipe only names them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def stamp_files(root: Path, files: Iterable[Path]) -> str:
    """sha256 of the files' names relative to `root`, sizes and modification times. Their content is not read."""
    entries = []
    for file in files:
        with contextlib.suppress(OSError):  # a file that is gone is left out
            stat = file.stat()
            entries.append([str(file.relative_to(root)), stat.st_size, stat.st_mtime_ns])
    return json_digest(entries)


def json_digest(value: object) -> str:
    """sha256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
