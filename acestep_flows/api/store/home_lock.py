"""One server at a time for each home folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from acestep_flows.errors import Conflict, StorageError

LOCK = "server.lock"
HOLDER = "server.json"
"""Which process serves the folder, and where: for the message to a second one."""


@contextlib.contextmanager
def locked_home(root: Path, address: str) -> Iterator[None]:
    """Hold a home folder, which is made if it is missing. The system frees the lock when the process ends.

    Args:
        address: where the server will answer.

    Raises:
        Conflict: another server uses the folder.
        StorageError: the folder cannot be made or written.
    """
    lock = FileLock(root / LOCK)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        (root / HOLDER).write_text(json.dumps({"pid": os.getpid(), "address": address}))
    except Timeout:
        what = f"{root}: in use by {_holder(root)}; stop that one, or name another folder with --home"
        raise Conflict(what) from None
    except OSError as error:
        lock.release()
        raise StorageError(f"{root}: cannot be written: {error.strerror or error}; --home names the folder") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (root / HOLDER).unlink()
        lock.release()


def _holder(root: Path) -> str:
    try:
        holder = json.loads((root / HOLDER).read_text())
        return f"the server at {holder['address']} (process {holder['pid']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another server"
