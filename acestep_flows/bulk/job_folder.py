"""The folder of a job: on this machine, or on any file system that pyarrow knows.

Files appear whole or not at all. A folder that was removed while the job runs is an error and never made anew, because
the results in it would be missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from acestep_flows import storage
from acestep_flows.errors import InputError, StorageError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

PART = ".part"
STALE_SECONDS = 3600.0
"""An unfinished file older than this belongs to a process that has died."""


@dataclass(frozen=True)
class JobFolder:
    """A folder; paths below it are relative, with slashes.

    Args:
        where: a path, or a URL (s3://, gs://, hdfs://, file://).
    """

    where: str
    _opened: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {"where": self.where, "_opened": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @cached_property
    def local(self) -> Path | None:
        """The folder as a path; None where it is on another file system."""
        if self.where.startswith("file://"):
            return Path(self.where.removeprefix("file://"))
        if "://" in self.where:
            return None
        path = Path(self.where).expanduser()
        return path.resolve() if ".." in path.parts else path.absolute()

    @property
    def url(self) -> str:
        """The folder as a path or URL, for pyarrow and other libraries."""
        return str(self.local) if self.local is not None else self.where

    def prepare(self) -> None:
        """Make the folder, and test that it can be written.

        Raises:
            StorageError: it cannot be written.
        """
        with self._storage_errors("cannot be made"):
            if self.local is not None:
                self.local.mkdir(parents=True, exist_ok=True)
            else:
                self._files.create_dir(self._root, recursive=True)
        probe = f".{secrets.token_hex(6)}{PART}"
        self.write(probe, b"")
        self.delete(probe)

    def check_writable(self) -> None:
        """Raise StorageError where `prepare` would for want of permission or a file in the way. Writes nothing."""
        if self.local is None:
            return
        there = next(path for path in (self.local, *self.local.parents) if os.path.lexists(path))
        if not there.is_dir():
            reason = errno.EEXIST if there == self.local else errno.ENOTDIR
        elif not os.access(there, os.W_OK | os.X_OK):
            reason = errno.EACCES
        else:
            return
        raise StorageError(f"{self.where}: cannot be made: {os.strerror(reason)}")

    def check(self) -> None:
        """Raise StorageError if the folder was removed."""
        if self.local is not None and not self.local.is_dir():
            raise StorageError(f"{self.local}: the folder has gone")

    def write(self, path: str, content: bytes) -> None:
        """Write a file whole, or replace the old one.

        Raises:
            StorageError: no space, no permission, the folder has gone; nothing is left behind.
        """
        self.check()
        if self.local is not None:
            storage.write(self.local / path, content)
            return
        whole = self._whole(path)
        part = str(PurePosixPath(whole).with_name(f".{secrets.token_hex(6)}{PART}"))
        with self._storage_errors(f"{path} cannot be written"):
            self._files.create_dir(str(PurePosixPath(whole).parent), recursive=True)
            try:
                with self._files.open_output_stream(part) as stream:
                    stream.write(content)
                self._files.move(part, whole)
            except BaseException:
                with contextlib.suppress(OSError):
                    self._files.delete_file(part)
                raise

    def read(self, path: str) -> bytes | None:
        """A file's content; None where there is none. Raises StorageError."""
        with self._storage_errors(f"{path} cannot be read"), contextlib.suppress(FileNotFoundError):
            if self.local is not None:
                return (self.local / path).read_bytes()
            with self._files.open_input_stream(self._whole(path), compression=None) as stream:
                content: bytes = stream.read()
            return content
        return None

    def names(self, folder: str, *, hidden: bool = False) -> list[str]:
        """Names of the finished files in a folder, in order; none where it is missing. Raises StorageError.

        Args:
            hidden: those that begin with a dot instead.
        """
        from pyarrow import fs

        with self._storage_errors(f"{folder} cannot be read"):
            if self.local is not None:
                if not (self.local / folder).is_dir():
                    return []
                names = os.listdir(self.local / folder)
            else:
                selector = fs.FileSelector(self._whole(folder), allow_not_found=True)
                names = [info.base_name for info in self._files.get_file_info(selector) if info.is_file]
        return sorted(name for name in names if name.startswith(".") == hidden)

    def move(self, path: str, to: str) -> None:
        """Move a file within the folder, if it is there, in place of what `to` named; raises StorageError."""
        self.check()
        with self._storage_errors(f"{path} cannot be moved"), contextlib.suppress(FileNotFoundError):
            if self.local is not None:
                (self.local / to).parent.mkdir(parents=True, exist_ok=True)
                (self.local / path).replace(self.local / to)
            else:
                self._files.create_dir(str(PurePosixPath(self._whole(to)).parent), recursive=True)
                self._files.move(self._whole(path), self._whole(to))

    def delete(self, path: str) -> None:
        """Remove a file, if it is there; raises StorageError."""
        with self._storage_errors(f"{path} cannot be removed"), contextlib.suppress(FileNotFoundError):
            if self.local is not None:
                (self.local / path).unlink()
            else:
                self._files.delete_file(self._whole(path))

    def tidy(self) -> None:
        """Remove what killed processes left half written, in a local folder."""
        if self.local is None:
            return
        before = time.time() - STALE_SECONDS
        for folder, _, names in os.walk(self.local):
            for name in names:
                if name.startswith(".") and name.endswith(PART):
                    with contextlib.suppress(OSError):
                        path = Path(folder, name)
                        if path.stat().st_mtime < before:
                            path.unlink()

    @property
    def _files(self) -> FileSystem:
        return self._open()[0]

    @property
    def _root(self) -> str:
        return self._open()[1]

    def _whole(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"

    def _open(self) -> tuple[FileSystem, str]:
        """The file system and the folder in it."""
        import pyarrow as pa
        from pyarrow import fs

        if "files" not in self._opened:
            try:
                self._opened["files"] = fs.FileSystem.from_uri(self.where)
            except (OSError, pa.ArrowException) as error:
                reason = " ".join(str(error).split())
                where = storage.without_login(self.where)
                reason = storage.without_login(reason)
                raise InputError(f"no file system: {reason}", where=where, allowed="a path or a URL") from None
        files: tuple[FileSystem, str] = self._opened["files"]
        return files

    @contextlib.contextmanager
    def _storage_errors(self, what: str) -> Iterator[None]:
        """Turn OSError into StorageError."""
        try:
            yield
        except OSError as error:
            reason = f"{self.where}: {what}: {error.strerror or error}"
            raise StorageError(storage.without_login(reason)) from error
