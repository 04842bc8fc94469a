"""Locks by cache key, so that processes which share a cache folder compute a key once.

Each is a lock on a file named after the key. The system releases it when its process ends, however it ends, so a
killed run never blocks the next one. Where the file system has no locks, a key may be computed twice, nothing worse.
(The filelock package leaves every lock file behind; with a file per key that would fill the folder.)
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


class KeyLock:
    """The right to compute one key, held until `release`."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path, self._descriptor = path, descriptor

    def release(self) -> None:
        """Release the key; another process may claim it."""
        if self._descriptor is not None:
            # Unlinked while locked: a process that opened it meanwhile finds another file at the path, and retries.
            with contextlib.suppress(OSError):
                self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None


def claim(path: Path) -> KeyLock | None:
    """The lock on the file at `path`, or None while another holder has it. Does not wait."""
    if sys.platform == "win32":
        return KeyLock(path, None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return KeyLock(path, None)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
            return KeyLock(path, descriptor)
    except BlockingIOError:
        pass
    except FileNotFoundError:
        pass  # released and unlinked between open and lock
    except OSError:
        os.close(descriptor)
        return KeyLock(path, None)
    os.close(descriptor)
    return None
