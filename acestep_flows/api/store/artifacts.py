"""Files by the sha256 of their content, in a folder or any file system that pyarrow knows (S3-compatible by URL)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self


@dataclass(frozen=True)
class Blob:
    """A file in the store: its sha256 (hex) and size."""

    digest: str
    bytes: int


class Upload:
    """A file being written, unseen until `finish`. Leaving its context without that leaves nothing behind."""

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def write(self, part: bytes) -> None:
        """Add to it.

        Raises:
            InputError: it is now larger than the limit.
            StorageError: no space.
        """
        raise NotImplementedError

    def finish(self) -> Blob:
        """Put it in its place."""
        raise NotImplementedError


class Artifacts:
    """The files of one store. Its methods block."""

    def put(self, content: bytes) -> Blob:
        """Keep `content`; the same content is kept once. Raises StorageError."""
        raise NotImplementedError

    def upload(self, limit: int | None = None) -> Upload:
        """Begin to write a file piece by piece, of at most `limit` bytes."""
        raise NotImplementedError

    def open(self, digest: str) -> BinaryIO:
        """A file to read and seek in; raises NotFound."""
        raise NotImplementedError

    def chunks(self, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `start`, `length` of them, in pieces: what a range request is answered with."""
        raise NotImplementedError

    def path(self, digest: str) -> AbstractContextManager[Path]:
        """The file as a local path, for libraries that want one; a copy where the store is not local."""
        raise NotImplementedError
