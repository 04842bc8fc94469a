"""Atomic writing of files and folders: a reader finds the old content, the complete new one, or nothing.

When a call returns, the content survives a power cut: first the content is flushed to disk, then its name.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from acestep_flows.errors import InputError, StorageError

READ_BYTES = 1 << 20
"""Bytes read at once to digest a file."""

_LOGIN = re.compile(r"://(?:[^/\s'\"@]*:[^\s'\"]*|[^/\s'\"]*)@")  # a key may have a slash that is not escaped
_SECRET = re.compile(
    r"(?i)\b((?:ssl)?password|passwd|passfile|access_key|secret_key|session_token|api_?key|token|credentials?"
    r"|x-amz-(?:signature|credential|security-token)|sig(?:nature)?)=('[^']*'|\"[^\"]*\"|[^\s&'\",;]+)"
)
HIDDEN = "***"
"""Stands for a secret in texts for people."""

LONGEST_NAME = 255
"""Bytes in one part of a path; the limit of nearly all file systems."""

LONGEST_PATH = 4096
"""Bytes of a whole path; the limit of Linux."""


def user_path(text: str | os.PathLike[str], where: str) -> Path:
    """A path as a user writes it, with `~` replaced by the home folder.

    Args:
        where: the option or variable that it was given in, for the error.

    Raises:
        InputError: no file system has such a path (`path_fault`), or the home folder is not known here.
    """
    text = os.fspath(text)
    if fault := path_fault(text):
        raise InputError(fault, where=where, allowed=f"names of at most {LONGEST_NAME} bytes, {LONGEST_PATH} in all")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InputError(f"no home folder for {text[:60]!r}", where=where, allowed="an absolute path") from None


def path_fault(text: str) -> str:
    """Why no file system takes a path: a null byte, characters that are none, or a part that is too long; else ""."""
    if "\0" in text:
        return "null byte in a path"
    try:
        parts = [len(os.fsencode(part)) for part in Path(text).parts]
    except UnicodeEncodeError:
        return f"an invalid Unicode character (lone surrogate) in the path {text[:30]!a}"
    longest, whole = max(parts, default=0), sum(parts) + len(parts)
    if longest > LONGEST_NAME:
        return f"a name of {longest} bytes in the path {text[:30]!r}..."
    return f"a path of {whole} bytes, {text[:30]!r}..." if whole > LONGEST_PATH else ""


def is_file(path: Path) -> bool:
    """Whether there is such a file. There is none under a name that no file can have, such as a very long one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_working_folder() -> None:
    """Check that the working folder exists. Without it no relative path can be read, and torch cannot be loaded.

    Raises:
        InputError: the folder was removed.
    """
    try:
        os.getcwd()
    except OSError:
        raise InputError("the working folder does not exist any more; change to a folder that does") from None


def write(path: str | os.PathLike[str], content: bytes | memoryview, mode: int = 0o666) -> Path:
    """Write `content` to `path` through a temporary file in the same folder. A missing folder is created.

    Args:
        mode: permissions of the file before the process's umask is applied.

    Returns:
        `path`.

    Raises:
        StorageError: no space, no permission, or the parent is not a folder; no partial file is left.
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
    """A temporary file that is renamed to `path` when the body of the `with` ends, and removed if it fails.

    Args:
        mode: permissions of the file before the process's umask is applied.

    Raises:
        OSError: no space, no permission, or the parent is not a folder.
    """
    # The temporary name is short, because the target's may already have the maximum length.
    part = path.parent / f".{secrets.token_hex(6)}.part"
    make_folder(path.parent)
    try:
        with open(part, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # some file systems report only here that they are full
        os.replace(part, path)
        flush_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def put_in_place(part: Path, path: Path) -> None:
    """Rename a finished file to `path`, whose folder must exist. An existing file is replaced.

    Raises:
        OSError: the file cannot be flushed or renamed.
    """
    flush(part)
    os.replace(part, path)
    flush_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents if they are missing.

    Raises:
        OSError: a folder cannot be created.
    """
    if folder.is_dir():
        return
    if folder != folder.parent:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    flush_folder(folder.parent)


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, if the file system supports that.

    Raises:
        OSError: the folder cannot be opened or flushed.
    """
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a folder may be writable but not readable
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
    """An empty hidden folder beside `path`. When the body of the `with` ends, it replaces `path`.

    The next attempt removes what a killed process left. There may be only one writer at a time.

    Raises:
        StorageError: no space or no permission. Nothing is left, and the old `path` is unchanged.
    """
    unfinished, former = (path.with_name(f".{path.name}.{state}") for state in ("unfinished", "former"))
    try:
        try:
            for leftover in (unfinished, former):
                shutil.rmtree(leftover, ignore_errors=True)
            unfinished.mkdir(parents=True)
            yield unfinished
            for file in unfinished.rglob("*"):
                if file.is_file():
                    flush(file)
                elif file.is_dir():
                    flush_folder(file)
            flush_folder(unfinished)
            if path.exists():
                path.rename(former)  # a rename cannot replace a folder that is not empty
            unfinished.rename(path)
            flush_folder(path.parent)
            shutil.rmtree(former, ignore_errors=True)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def flush(file: Path) -> None:
    """Flush the content of a file to disk.

    Raises:
        OSError: the file cannot be opened or flushed.
    """
    with file.open("rb") as content:
        os.fsync(content.fileno())


def file_sha256(path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> str:
    """sha256 (hex) of a file's bytes. `on_bytes` is called with the number of bytes read so far; raises OSError."""
    hasher, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            hasher.update(chunk)
            done += len(chunk)
            on_bytes(done)
    return hasher.hexdigest()


def without_login(text: str) -> str:
    """A text for people, without secrets: logins of URLs (`s3://NAME:KEY@bucket`), and values of parameters such as
    `password=` and `secret_key=`, in URLs and in connection strings.
    """
    return _SECRET.sub(rf"\1={HIDDEN}", _LOGIN.sub("://", text))


def open_to_others(folder: Path) -> str:
    """Why others than this user and root decide what is in a folder; empty if they do not, or there is no folder."""
    try:
        status = folder.stat()
    except OSError:
        return ""
    if status.st_uid not in (0, os.geteuid()):
        return f"{folder} belongs to another user (uid {status.st_uid})"
    return f"every user of this machine may write to {folder}" if status.st_mode & stat.S_IWOTH else ""


def check_folder(folder: Path) -> None:
    """Create `folder` and test that it is writable, so that a long run does not fail at its end.

    Raises:
        StorageError: the folder cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be created: {error.strerror or error}") from error
    write(folder / f".{secrets.token_hex(6)}.probe", b"").unlink(missing_ok=True)
