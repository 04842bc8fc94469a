"""Writing files and folders so that a reader finds the old content, the whole new one, or nothing: never a half.

What was written when a call returns is there after a power cut, too: the content is flushed, and then its name.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from acestep_flows.errors import StorageError


def write(path: str | os.PathLike[str], content: bytes | memoryview, mode: int = 0o666) -> Path:
    """Write `content` to `path` by way of a temporary file in the same folder, which is made if it is missing.

    Args:
        mode: permissions of the file, as far as the process's umask leaves them.

    Raises:
        StorageError: no space, no permission, not a folder; nothing is left behind.
    """
    path = Path(path)
    try:
        with new_file(path, mode) as file:
            file.write(content)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


@contextmanager
def new_file(path: Path, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A temporary file to write to, which takes the name `path` when the body ends and is removed if it fails.

    Raises OSError: no space, no permission, not a folder.
    """
    # A short name of its own: the target's may already be as long as a name can be.
    part = path.parent / f".{secrets.token_hex(6)}.part"
    make_folder(path.parent)
    try:
        with open(part, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # some file systems find out only here that they are full
        os.replace(part, path)
        flush_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def put_in_place(part: Path, path: Path) -> None:
    """Give a finished file its name, an old one replaced; the folder is there. Raises OSError."""
    flush(part)
    os.replace(part, path)
    flush_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder where there is none, and those it lies in; raises OSError."""
    if folder.is_dir():
        return
    if folder != folder.parent:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder outlast a power cut, as far as its file system knows how to; raises OSError."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # one may be allowed to write and not to list
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty hidden folder beside `path` to fill; when the body ends it takes the place of `path`, whole.

    What a kill leaves of it is cleared away by the next attempt. One writer at a time.

    Raises:
        StorageError: no space, no permission; nothing is left behind, and what was at `path` is untouched.
    """
    unfinished, former = (path.with_name(f".{path.name}.{state}") for state in ("unfinished", "former"))
    try:
        try:
            for left in (unfinished, former):
                shutil.rmtree(left, ignore_errors=True)
            unfinished.mkdir(parents=True)
            yield unfinished
            for file in unfinished.rglob("*"):
                if file.is_file():
                    flush(file)
                elif file.is_dir():
                    flush_folder(file)
            flush_folder(unfinished)
            if path.exists():
                path.rename(former)  # a folder that is not empty cannot be replaced in one move
            unfinished.rename(path)
            flush_folder(path.parent)
            shutil.rmtree(former, ignore_errors=True)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def flush(file: Path) -> None:
    """Have the content of a file outlast a power cut; raises OSError."""
    with file.open("rb") as content:
        os.fsync(content.fileno())


def check_folder(folder: Path) -> None:
    """Make `folder` and write to it once, so that an hour's work does not end at a closed door.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be made: {error.strerror or error}") from error
    write(folder / f".{secrets.token_hex(6)}.probe", b"").unlink(missing_ok=True)
