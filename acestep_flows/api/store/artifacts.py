"""Files by the sha256 of their content, in a folder or any file system that pyarrow knows (S3-compatible by URL).

A file appears whole or not at all, and never changes. What nobody refers to any more is removed by `retention`; until
a reference is written, a file is safe because it was touched lately.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow
from pyarrow import fs
from sqlalchemy import ColumnElement, delete, insert, select, update

from acestep_flows import storage
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import Blob
from acestep_flows.api.store.schema import BLOBS
from acestep_flows.errors import InputError, NotFound, Overloaded, StorageError

CHUNK_BYTES = 1 << 18
MOST_UNFINISHED = 4 << 30
"""Bytes of files being written with a limit, for strangers, together: each may be within it, and the disk full."""

COME_AGAIN_SECONDS = 30.0

_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = "unfinished"


class Artifacts:
    """The files of one store. Its methods block.

    Args:
        database: where it is known which files there are.
        place: a folder, or a URL that pyarrow reads (`s3://bucket/prefix?region=...`).
        clock: seconds since the epoch.
        most_unfinished: bytes that unfinished uploads with a limit may take together.

    Raises:
        InputError: a URL that pyarrow does not read.
        StorageError: the place cannot be used.
    """

    def __init__(
        self,
        database: Database,
        place: Path | str,
        clock: Callable[[], float] = time.time,
        most_unfinished: int = MOST_UNFINISHED,
    ) -> None:
        self._database, self._clock = database, clock
        self._unfinished, self._most_unfinished = 0, most_unfinished
        self._counting = threading.Lock()
        self._files: Any
        with _told(f"{place}"):
            try:
                if isinstance(place, Path):
                    place.mkdir(parents=True, exist_ok=True)
                    self._files, self._root = fs.LocalFileSystem(), str(place.absolute())
                else:
                    self._files, self._root = fs.FileSystem.from_uri(place)
            except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
                raise InputError(f"{error}", where="artifacts", allowed="a URL such as s3://bucket/folder") from error
            self._files.create_dir(f"{self._root}/{_UNFINISHED}", recursive=True)
        self._local = isinstance(self._files, fs.LocalFileSystem)

    def put(self, content: bytes) -> Blob:
        """Keep `content`; the same content is kept once.

        Raises:
            StorageError: no space, no permission.
        """
        with self.upload() as upload:
            upload.write(content)
            return upload.finish()

    def upload(self, limit: int | None = None) -> Upload:
        """Begin to write a file piece by piece, of at most `limit` bytes.

        Raises:
            StorageError: it cannot be written.
        """
        return Upload(self, limit)

    def open(self, digest: str) -> BinaryIO:
        """A file to read and seek in.

        Raises:
            NotFound: there is none.
        """
        try:
            file: BinaryIO = self._files.open_input_file(self._path(digest))
        except FileNotFoundError:
            raise NotFound("the file is not kept any more") from None
        except OSError as error:
            raise StorageError(f"an artifact cannot be read: {error}") from error
        return file

    def chunks(self, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes from `start`, `length` of them, in pieces: what a range request is answered with.

        Raises:
            NotFound: there is no such file; raised before the first piece is asked for.
        """
        return _pieces(self.open(digest), start, length)

    @contextlib.contextmanager
    def path(self, digest: str) -> Iterator[Path]:
        """The file as a local path, for libraries that want one; a copy where the store is not local.

        Raises:
            NotFound: there is none.
        """
        if self._local:
            path = Path(self._path(digest))
            if not path.is_file():
                raise NotFound("the file is not kept any more")
            yield path
            return
        with _copied(self.chunks(digest)) as copy:
            yield copy

    def collect(self, grace: float, referenced: Any) -> int:
        """Remove the files nobody refers to, save those touched in the last `grace` seconds; bytes freed.

        Args:
            referenced: a select of the digests that are referred to.
        """
        freed = 0
        idle = (BLOBS.c.touched_at < self._clock() - grace, BLOBS.c.digest.not_in(referenced))
        with self._database.read() as connection:
            candidates = connection.execute(select(BLOBS.c.digest).where(*idle)).scalars().all()
        for digest in candidates:
            freed += self._remove(digest, *idle)
        self._clear_unfinished(grace)
        return freed

    def drop(self, digest: str) -> None:
        """Remove a file at once, of which the caller knows that nobody refers to it, nor will."""
        self._remove(digest)

    def _remove(self, digest: str, *where: ColumnElement[bool]) -> int:
        """Remove a file if all of `where` holds for it; bytes freed."""
        # The file goes within the transaction: whoever puts it again waits, and then finds it gone.
        with self._database.write() as connection:
            gone = delete(BLOBS).where(BLOBS.c.digest == digest, *where).returning(BLOBS.c.bytes)
            if (size := connection.execute(gone).scalar_one_or_none()) is None:
                return 0
            with _told("an artifact"), contextlib.suppress(FileNotFoundError):
                self._files.delete_file(self._path(digest))
            return int(size)

    def _clear_unfinished(self, grace: float) -> None:
        """Remove what uploads left that died."""
        limit = time.time() - max(grace, 3600.0)  # as the file system counts
        with _told("unfinished uploads", "looked through"):
            found = self._files.get_file_info(fs.FileSelector(f"{self._root}/{_UNFINISHED}"))
        for info in found:
            if info.is_file and info.mtime_ns is not None and info.mtime_ns < limit * 1e9:
                with contextlib.suppress(OSError):
                    self._files.delete_file(info.path)

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise NotFound("no such file")
        return f"{self._root}/{digest[:2]}/{digest}"

    def _begin(self) -> tuple[str, Any]:
        path = f"{self._root}/{_UNFINISHED}/{secrets.token_hex(12)}"
        with _told("an artifact"):
            return path, self._files.open_output_stream(path)

    def _place(self, unfinished: str, blob: Blob) -> None:
        """Move a whole file to where it belongs, unless it stands there already."""
        self._touch(blob)
        path = self._path(blob.digest)
        with _told("an artifact"):
            if self._files.get_file_info(path).is_file:
                self._files.delete_file(unfinished)
                if self._local:  # who put it there may have died before this
                    storage.flush_folder(Path(path).parent)
                return
            if not self._local:
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
                self._files.move(unfinished, path)
                return
            # Whoever refers to it may rely on it after a power cut: content first, then the name.
            folder = Path(path).parent
            storage.flush(Path(unfinished))
            storage.make_folder(folder)
            os.replace(unfinished, path)
            storage.flush_folder(folder)

    def _touch(self, blob: Blob) -> None:
        now = self._clock()
        with self._database.write() as connection:
            touched = update(BLOBS).where(BLOBS.c.digest == blob.digest).values(touched_at=now)
            if not connection.execute(touched).rowcount:
                connection.execute(insert(BLOBS).values(digest=blob.digest, bytes=blob.bytes, touched_at=now))

    def _forget(self, unfinished: str) -> None:
        with contextlib.suppress(OSError):
            self._files.delete_file(unfinished)

    @contextlib.contextmanager
    def _written(self, unfinished: str) -> Iterator[Path]:
        """A file that is written and has no place yet, as a local path."""
        if self._local:
            yield Path(unfinished)
            return
        with _told("an artifact", "read"):
            file: BinaryIO = self._files.open_input_file(unfinished)
        with _copied(_pieces(file, 0, None)) as copy:
            yield copy

    def _count(self, size: int) -> None:
        """Of bytes of strangers that wait for their end, so many more."""
        with self._counting:
            if size > 0 and self._unfinished + size > self._most_unfinished:
                raise Overloaded("too much is being uploaded at once", retry_after=COME_AGAIN_SECONDS)
            self._unfinished += size


class Upload:
    """A file being written, unseen until `finish`. Leaving its context without that leaves nothing behind."""

    def __init__(self, artifacts: Artifacts, limit: int | None) -> None:
        self._artifacts, self._limit = artifacts, limit
        self._hash = hashlib.sha256()
        self._done = self._closed = False
        self._path, self._stream = artifacts._begin()
        self._counted = 0
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._artifacts._count(-self._counted)
        if not self._done:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._artifacts._forget(self._path)

    def write(self, part: bytes) -> None:
        """Add to it.

        Raises:
            InputError: it is now larger than the limit.
            Overloaded: all unfinished files with a limit are now larger than they may be together.
            StorageError: no space.
        """
        self.bytes += len(part)
        if self._limit is not None:
            if self.bytes > self._limit:
                raise InputError(f"more than {self._limit} bytes", where="upload", allowed=f"up to {self._limit} bytes")
            self._artifacts._count(len(part))
            self._counted += len(part)
        self._hash.update(part)
        with _told("an artifact"):
            self._stream.write(part)

    @contextlib.contextmanager
    def written(self) -> Iterator[Path]:
        """What was written, as a local path to look at before `finish`; nothing can be added any more.

        Raises:
            StorageError: no space.
        """
        self._close()
        with self._artifacts._written(self._path) as path:
            yield path

    def finish(self) -> Blob:
        """Put it in its place.

        Raises:
            StorageError: no space.
        """
        self._close()
        blob = Blob(self._hash.hexdigest(), self.bytes)
        self._artifacts._place(self._path, blob)
        self._done = True
        return blob

    def _close(self) -> None:
        if not self._closed:
            with _told("an artifact"):
                self._stream.close()
            self._closed = True


def _pieces(file: BinaryIO, start: int, length: int | None) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while length is None or length > 0:
            piece = file.read(CHUNK_BYTES if length is None else min(CHUNK_BYTES, length))
            if not piece:
                return
            yield piece
            length = None if length is None else length - len(piece)


@contextlib.contextmanager
def _copied(pieces: Iterator[bytes]) -> Iterator[Path]:
    """A local copy, for as long as it is wanted."""
    with tempfile.NamedTemporaryFile() as copy:
        for piece in pieces:
            copy.write(piece)
        copy.flush()
        yield Path(copy.name)


@contextlib.contextmanager
def _told(what: str, done: str = "written") -> Iterator[None]:
    try:
        yield
    except OSError as error:  # pyarrow raises these, too
        raise StorageError(f"{what} cannot be {done}: {error.strerror or error}") from error
