"""Files of an artifact store that are written and have no place yet: any process may write one, the server places it.

Until then they are in a folder of their own, and whatever lies there for an hour is removed.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
from pyarrow import fs

from acestep_flows import storage
from acestep_flows.api.store.object_store import read_chunks, temporary_copy, translate_errors
from acestep_flows.errors import InputError, StorageError, Unavailable
from acestep_flows.settings import read_settings

FOLDER = "unfinished"
STALE_SECONDS = 3600.0
"""Least age in seconds at which an unfinished file is removed."""


class UnfinishedFiles:
    """The unfinished files of one store. The methods block.

    Args:
        files: the file system.
        root: the store's folder in it.
        url: of the store, with its keys; empty for a folder of this machine.
    """

    def __init__(self, files: Any, root: str, url: str = "") -> None:
        self._files, self._url, self.folder = files, url, f"{root}/{FOLDER}"
        self._local = isinstance(files, fs.LocalFileSystem)
        self.errors: Callable[..., AbstractContextManager[None]] = error_translator(self._local)

    def __reduce__(self) -> tuple[Any, ...]:
        # Keys stay here, in the file system too: another process has its own from its environment.
        return UnfinishedElsewhere, (storage.without_login(self._url),)

    def open(self) -> tuple[str, Any]:
        """A new file: its path, and a stream that writes it.

        Raises:
            StorageError: it cannot be written.
        """
        path = f"{self.folder}/{secrets.token_hex(12)}"
        with self.errors("an artifact"):
            return path, self._files.open_output_stream(path)

    def write(self, content: bytes) -> str:
        """Write a file. Returns its path.

        Raises:
            StorageError: it cannot be written; nothing is left behind.
        """
        path, stream = self.open()
        try:
            with self.errors("an artifact"), stream:
                stream.write(content)
        except BaseException:
            self.discard(path)
            raise
        return path

    def discard(self, path: str) -> None:
        """Remove a file, if that is possible now."""
        with contextlib.suppress(OSError):
            self._files.delete_file(path)

    @contextlib.contextmanager
    def local_path(self, path: str) -> Iterator[Path]:
        """A file as a local path; a temporary copy if the store is not local."""
        if self._local:
            yield Path(path)
            return
        with self.errors("an artifact", "read"):
            file: BinaryIO = self._files.open_input_file(path)
        with temporary_copy(read_chunks(file, 0, None, self.errors)) as copy:
            yield copy

    def clear(self, grace: float) -> None:
        """Remove the files that nobody has finished for `grace` seconds and STALE_SECONDS."""
        limit = time.time() - max(grace, STALE_SECONDS)  # the clock of the file system
        with self.errors("unfinished uploads", "listed"):
            infos = self._files.get_file_info(fs.FileSelector(self.folder))
        for info in infos:
            if info.is_file and info.mtime_ns is not None and info.mtime_ns < limit * 1e9:
                self.discard(info.path)


class UnfinishedElsewhere:
    """What `UnfinishedFiles` of an object store are in another process: they can be written there.

    The store is opened with the keys of that process: those in ACESTEP_FLOWS_ARTIFACTS if it names the same store, or
    else where AWS programs find them.

    Args:
        url: of the store, without keys.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def write(self, content: bytes) -> str:
        """As `UnfinishedFiles.write`.

        Raises:
            StorageError: this process cannot write to the store.
        """
        return _opened(self._url).write(content)


@cache
def _opened(url: str) -> UnfinishedFiles:
    """The store of an URL without keys. Kept, as connections are."""
    own = read_settings().artifacts
    place = own if own is not None and storage.without_login(own) == url else url
    try:
        files, root = open_place(place)
    except InputError as error:
        raise StorageError(str(error)) from None
    return UnfinishedFiles(files, root, place)


def open_place(place: Path | str) -> tuple[Any, str]:
    """The file system of a store, and the store's folder in it.

    Args:
        place: a folder, which is made, or a URL that pyarrow accepts.

    Raises:
        InputError: pyarrow does not accept the URL.
        StorageError: the place cannot be used.
    """
    with translate_errors(storage.without_login(f"{place}")):
        try:
            if isinstance(place, Path):
                place.mkdir(parents=True, exist_ok=True)
                return fs.LocalFileSystem(), str(place.absolute())
            files, root = fs.FileSystem.from_uri(place)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
            reason = storage.without_login(str(error))
            raise InputError(reason, where="artifacts", allowed="a URL such as s3://bucket/folder") from error
    return files, root


def error_translator(local: bool) -> Callable[..., AbstractContextManager[None]]:
    """`translate_errors` for a store on this machine or elsewhere."""
    # An object store that does not answer may be back soon; a full disk, or one without permission, is not.
    return partial(translate_errors, kind=StorageError if local else Unavailable)
