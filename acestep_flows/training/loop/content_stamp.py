"""What lies behind the paths of a recipe: a path says where, and a run depends on what is there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def stamp(root: Path, files: Iterable[Path]) -> str:
    """sha256 of names (as seen from `root`), sizes and modification times of files: cheap, and new when they are."""
    entries = []
    for file in files:
        with contextlib.suppress(OSError):  # gone meanwhile: then it is no part of it
            found = file.stat()
            entries.append([str(file.relative_to(root)), found.st_size, found.st_mtime_ns])
    return joined(entries)


def joined(told: object) -> str:
    """sha256 of anything that JSON can say."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
