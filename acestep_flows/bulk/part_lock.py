"""Locks that keep two processes from the same rows of a job; the lock of a dead process is free."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.errors import Conflict, StorageError

if TYPE_CHECKING:
    from filelock import BaseFileLock

_NAME = re.compile(r"\.lock-(\d+)-of-(\d+)")


@contextlib.contextmanager
def part_locked(job_folder: JobFolder, part: Shard) -> Iterator[None]:
    """Hold a part of a job, in a local folder. Parts of one division may be held at the same time.

    Raises:
        Conflict: another process works on this part, or on the whole job or a part of another division.
        StorageError: the folder cannot be written.
    """
    if job_folder.local is None:
        yield
        return
    lock = _acquired(job_folder.local, part)
    try:
        _refuse_other_divisions(job_folder.local, part)
        yield
    finally:
        lock.release()


def check_unlocked(job_folder: JobFolder, part: Shard) -> None:
    """Raise what `part_locked` would raise now. Holds nothing, and writes nothing to the folder.

    Raises:
        Conflict, StorageError: as `part_locked`.
    """
    if job_folder.local is None:
        return
    if _lock_file(job_folder.local, part).exists():
        _acquired(job_folder.local, part).release()
    _refuse_other_divisions(job_folder.local, part)


def _acquired(folder: Path, part: Shard) -> BaseFileLock:
    from filelock import FileLock, Timeout

    lock = FileLock(_lock_file(folder, part))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Conflict(f"{folder}: another process works on {_words(part)}") from None
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return lock


def _lock_file(folder: Path, part: Shard) -> Path:
    return folder / f".lock-{part.number}-of-{part.of}"


def _refuse_other_divisions(folder: Path, part: Shard) -> None:
    from filelock import FileLock, Timeout

    for path in sorted(folder.glob(".lock-*")):
        match = _NAME.fullmatch(path.name)
        other = Shard(int(match[1]), int(match[2])) if match else part
        if other.of == part.of:
            continue
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            advice = f"--shard N/{other.of} works beside it" if other.of > 1 else "its rows are not divided"
            what = f"{folder}: another process works on {_words(other)}, {_words(part)} has the same rows"
            raise Conflict(f"{what}: wait until it has ended ({advice})") from None


def _words(part: Shard) -> str:
    return "this job" if part.of == 1 else f"part {part} of this job"
