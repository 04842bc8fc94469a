"""Folders below the shared temporary folder that only this user can enter, each with a lock that its owner holds.

Everybody on a machine may write to the temporary folder. So a folder there counts only if it belongs to this user and
is closed to others; what others put there is neither read nor removed. The lock tells whether the owner lives: the
system frees it when the process ends. Process ids and times would not do, because a container has its own ids over the
same folder, and clocks are set.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from acestep_flows.errors import StorageError

PREFIX = "acestep-flows-"
LOCK = "lock"
CONTENT = "r"
"""The part of the folder for others' software, which may open it to everybody: who cannot enter the folder around it
cannot reach it."""

OTHER_PLACES = ("/tmp", "/var/tmp")
"""Where a folder is made if the temporary folder cannot be used or its path is too long."""

LONGEST_SOCKET = 103
"""Bytes of the path of a socket: 103 on macOS, 107 on Linux."""


@dataclass(frozen=True)
class PrivateFolder:
    """A folder that this process has locked, for as long as it lives or until `remove`.

    Attributes:
        root: the folder itself.
        lock: descriptor of its lock file.
    """

    root: Path
    lock: int

    @property
    def content(self) -> Path:
        """The folder inside for what other software writes."""
        return self.root / CONTENT

    def remove(self) -> None:
        """Remove the folder with all that is in it, and free the lock."""
        shutil.rmtree(self.root, ignore_errors=True)
        os.close(self.lock)


def new_folder(room: int = 0) -> PrivateFolder:
    """A new folder.

    Args:
        room: bytes that paths of sockets below `content` need.

    Raises:
        StorageError: there is no place for it.
    """
    faults = []
    for place in _places():
        if fault := _fault(place, room):
            faults.append(f"{place}: {fault}")
            continue
        try:
            return _new_in(place)
        except OSError as error:
            faults.append(f"{place}: {error.strerror or error}")
    raise StorageError(f"no temporary folder for Ray; set TMPDIR to a short path of your own ({'; '.join(faults)})")


def abandoned() -> Iterator[PrivateFolder]:
    """This user's folders whose owners have ended, each locked now. Whoever asks removes them."""
    for place in _places():
        for root in place.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):
                if (lock := _lock_of_dead(root)) is not None:
                    yield PrivateFolder(root, lock)


def is_private(status: os.stat_result) -> bool:
    """Whether a file or folder belongs to this user and is closed to all others."""
    return status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077


def _places() -> list[Path]:
    try:
        first = [tempfile.gettempdir()]
    except FileNotFoundError:  # it tries several, and this user can write to none
        first = []
    return list(dict.fromkeys(Path(place).resolve() for place in (*first, *OTHER_PLACES)))


def _fault(place: Path, room: int) -> str:
    """Why no folder can be made in a place; empty if one can."""
    length = len(os.fsencode(place)) + len(f"/{PREFIX}12345678/{CONTENT}") + room
    if length > LONGEST_SOCKET:
        return f"its path is {length - LONGEST_SOCKET} bytes too long for sockets"
    try:
        mode = place.stat().st_mode
    except OSError as error:
        return error.strerror or str(error)
    return "others may rename what is in it" if mode & stat.S_IWOTH and not mode & stat.S_ISVTX else ""


def _new_in(place: Path) -> PrivateFolder:
    while True:
        root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))  # closed to others
        lock = -1
        try:
            lock = os.open(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (root / CONTENT).mkdir()
            return PrivateFolder(root, lock)
        except (BlockingIOError, FileNotFoundError):  # taken for abandoned before it was locked, and removed
            _give_up(root, lock)
        except BaseException:
            _give_up(root, lock)
            raise


def _give_up(root: Path, lock: int) -> None:
    shutil.rmtree(root, ignore_errors=True)
    if lock >= 0:
        os.close(lock)


def _lock_of_dead(root: Path) -> int | None:
    """The lock of a folder, if it is one of this user and its owner has ended."""
    status = root.lstat()
    if not (stat.S_ISDIR(status.st_mode) and is_private(status)):
        return None
    lock = os.open(root / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(lock)
        if stat.S_ISREG(status.st_mode) and is_private(status):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
    except OSError:
        pass  # its owner lives
    os.close(lock)
    return None
