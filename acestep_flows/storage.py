"""Writing files so that a reader finds the old content, the whole new content, or nothing: never a half."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from acestep_flows.errors import StorageError


def write(path: str | os.PathLike[str], content: bytes | memoryview) -> Path:
    """Write `content` to `path` by way of a temporary file in the same folder, which is made if it is missing.

    Raises:
        StorageError: no space, no permission, not a folder; nothing is left behind.
    """
    path = Path(path)
    # A short name of its own: the target's may already be as long as a name can be.
    part = path.parent / f".{secrets.token_hex(6)}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # some file systems find out only here that they are full
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path
