"""Reads of an artifact store that may be away: each is answered within a second, with the content or with an error."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from pyarrow import fs

from acestep_flows.errors import StorageError
from acestep_flows.storage import without_login

CHUNK_BYTES = 1 << 18

READ_SECONDS = 0.8
"""How long an object store may take to open a file."""

AWAY_SECONDS = 1.0
"""How long a store counts as away after it did not answer. Reads are refused at once meanwhile."""

FRESH_SECONDS = 2.0
"""How long an answer to `Reader.check` is used again, because everybody may ask for it."""

LONGEST_REASON = 300  # characters

_THREADS = 16
_S3_OPTIONS = ("scheme", "endpoint_override", "tls_ca_file_path")

R = TypeVar("R")


class Reader:
    """Opens files of a store for reading.

    Args:
        files: the file system.
        place: the URL it was opened with; empty for a folder.
    """

    def __init__(self, files: Any, place: str = "") -> None:
        self._files = _prompt(files, place) if isinstance(files, fs.S3FileSystem) else files
        local = isinstance(files, fs.LocalFileSystem)
        self._threads = None if local else ThreadPoolExecutor(_THREADS, thread_name_prefix="artifacts")
        self._lock = threading.Lock()
        self._away: tuple[float, OSError] | None = None
        self._checked = -FRESH_SECONDS

    def open(self, path: str) -> Any:
        """Open a file for reading and seeking.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it cannot be read, or the store does not answer.
        """
        return self._promptly(lambda: self._files.open_input_file(path))

    def check(self, folder: str) -> None:
        """Check that the store answers.

        Raises:
            OSError: it does not.
        """
        if self._threads is None:
            if not self._files.get_file_info(folder).type == fs.FileType.Directory:
                raise FileNotFoundError(2, "the folder is gone")
            return
        if time.monotonic() - self._checked > FRESH_SECONDS:
            self._promptly(lambda: self._files.get_file_info(folder))
            self._checked = time.monotonic()

    def _promptly(self, read: Callable[[], R]) -> R:
        if self._threads is None:
            return read()
        with self._lock:
            if self._away is not None and time.monotonic() < self._away[0]:
                raise OSError(f"{self._away[1]}")
        try:
            return self._threads.submit(read).result(READ_SECONDS)
        except FileNotFoundError:
            raise
        except OSError as error:  # TimeoutError is one
            reason = OSError(str(error) or f"no answer within {READ_SECONDS:g} s")
            with self._lock:
                self._away = time.monotonic() + AWAY_SECONDS, reason
            self._checked = -FRESH_SECONDS
            raise reason from error


def _prompt(files: Any, place: str) -> Any:
    """The same S3 store with one retry and short timeouts. Whoever waits for an answer can ask again."""
    url = urlsplit(place)
    options = {name: values[0] for name, values in parse_qs(url.query).items() if name in _S3_OPTIONS}
    if url.username and url.password:
        options |= {"access_key": unquote(url.username), "secret_key": unquote(url.password)}
    patience = {"connect_timeout": READ_SECONDS, "request_timeout": 3.0}
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=2)
    return fs.S3FileSystem(region=files.region, retry_strategy=retries, **patience, **options)


def read_chunks(
    file: BinaryIO, start: int, length: int | None, errors: Callable[[str, str], AbstractContextManager[None]]
) -> Iterator[bytes]:
    """`length` bytes of a file from `start`, or all that follow, in chunks. The file is closed at the end.

    Args:
        errors: translates errors, as `translate_errors` does.
    """
    with file, errors("an artifact", "read"):
        file.seek(start)
        while length is None or length > 0:
            chunk = file.read(CHUNK_BYTES if length is None else min(CHUNK_BYTES, length))
            if not chunk:
                return
            yield chunk
            length = None if length is None else length - len(chunk)


@contextlib.contextmanager
def temporary_copy(chunks: Iterator[bytes]) -> Iterator[Path]:
    """A local copy that is removed when the context ends."""
    with tempfile.NamedTemporaryFile() as copy:
        for chunk in chunks:
            copy.write(chunk)
        copy.flush()
        yield Path(copy.name)


@contextlib.contextmanager
def translate_errors(what: str, action: str = "written", kind: type[StorageError] = StorageError) -> Iterator[None]:
    """Raise OSError, which pyarrow raises too, as StorageError."""
    try:
        yield
    except OSError as error:
        reason = " ".join(str(error.strerror or error).split())[:LONGEST_REASON]  # object stores say much
        raise kind.hiding(f"{what} cannot be {action}", without_login(reason)) from error
