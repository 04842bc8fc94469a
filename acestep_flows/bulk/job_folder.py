"""The folder of a job: on this machine, or on any file system that pyarrow knows.

Files appear whole or not at all, under their name only when they are complete. A folder that has gone is noticed and
never made anew: what was in it would be missing.
"""

from __future__ import annotations

import contextlib
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
"""Age at which an unfinished file is of a process that is gone."""


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
        """The folder, where it is one of this machine."""
        if self.where.startswith("file://"):
            return Path(self.where.removeprefix("file://"))
        return None if "://" in self.where else Path(self.where).expanduser().absolute()

    @property
    def url(self) -> str:
        """As pyarrow and others take it."""
        return str(self.local) if self.local is not None else self.where

    def prepare(self) -> None:
        """Make the folder, and write to it once.

        Raises:
            StorageError: it cannot be written.
        """
        with self._told("cannot be made"):
            if self.local is not None:
                self.local.mkdir(parents=True, exist_ok=True)
            else:
                self._files.create_dir(self._root, recursive=True)
        probe = f".{secrets.token_hex(6)}{PART}"
        self.write(probe, b"")
        self.delete(probe)

    def check(self) -> None:
        """Raises StorageError when the folder is not there any more."""
        if self.local is not None and not self.local.is_dir():
            raise StorageError(f"{self.local}: the folder has gone")

    def write(self, path: str, content: bytes) -> None:
        """Put a file in its place, an old one replaced.

        Raises:
            StorageError: no space, no permission, the folder has gone; nothing is left behind.
        """
        self.check()
        if self.local is not None:
            storage.write(self.local / path, content)
            return
        whole = self._whole(path)
        part = str(PurePosixPath(whole).with_name(f".{secrets.token_hex(6)}{PART}"))
        with self._told(f"{path} cannot be written"):
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
        with self._told(f"{path} cannot be read"), contextlib.suppress(FileNotFoundError):
            if self.local is not None:
                return (self.local / path).read_bytes()
            with self._files.open_input_stream(self._whole(path), compression=None) as stream:
                content: bytes = stream.read()
            return content
        return None

    def names(self, folder: str) -> list[str]:
        """Names of the finished files in a folder, in order; none where it is missing. Raises StorageError."""
        from pyarrow import fs

        with self._told(f"{folder} cannot be read"):
            if self.local is not None:
                if not (self.local / folder).is_dir():
                    return []
                found = os.listdir(self.local / folder)
            else:
                selector = fs.FileSelector(self._whole(folder), allow_not_found=True)
                found = [info.base_name for info in self._files.get_file_info(selector) if info.is_file]
        return sorted(name for name in found if not name.startswith("."))

    def delete(self, path: str) -> None:
        """Remove a file, if it is there; raises StorageError."""
        with self._told(f"{path} cannot be removed"), contextlib.suppress(FileNotFoundError):
            if self.local is not None:
                (self.local / path).unlink()
            else:
                self._files.delete_file(self._whole(path))

    def tidy(self) -> None:
        """Remove what killed processes left half written. Of other machines' file systems they see to it themselves."""
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

        if "found" not in self._opened:
            try:
                self._opened["found"] = fs.FileSystem.from_uri(self.where)
            except (OSError, pa.ArrowException) as error:
                raise InputError(f"no file system: {' '.join(str(error).split())}", where=self.where) from None
        found: tuple[FileSystem, str] = self._opened["found"]
        return found

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(f"{self.where}: {what}: {error.strerror or error}") from error
