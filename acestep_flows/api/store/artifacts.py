"""The artifact store: files by the sha256 of their content, in a folder or S3-compatible storage (through pyarrow).

A file appears whole or not at all, and never changes. `retention` removes files without references. A new file is safe
until its reference is written, because files that were touched lately are not removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow
from pyarrow import fs
from sqlalchemy import ColumnElement, delete

from acestep_flows import storage
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.file_references import among, file_pages
from acestep_flows.api.store.file_table import FileTable
from acestep_flows.api.store.object_store import Reader, read_chunks, temporary_copy, translate_errors
from acestep_flows.api.store.records import Blob
from acestep_flows.api.store.schema import BLOBS
from acestep_flows.api.store.signed_links import link_signer
from acestep_flows.api.store.unfinished_bytes import UnfinishedBytes
from acestep_flows.errors import InputError, NotFound, StorageError, Unavailable

MOST_UNFINISHED = 4 << 30
"""Total bytes of unfinished uploads. Each upload has a limit, but many of them together could fill the disk."""


_DIGEST = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = "unfinished"
_MARK = "store-id"


class Artifacts:
    """The files of one store. The methods block.

    Args:
        database: database with the table of files.
        place: a folder, or a URL that pyarrow accepts (`s3://bucket/prefix?region=...`).
        clock: seconds since the epoch.
        most_unfinished: total bytes of unfinished uploads that have a limit.

    Raises:
        InputError: pyarrow does not accept the URL.
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
        self._table, self._unfinished = FileTable(database, clock), UnfinishedBytes(most_unfinished)
        self._files: Any
        with translate_errors(storage.without_login(f"{place}")):
            try:
                if isinstance(place, Path):
                    place.mkdir(parents=True, exist_ok=True)
                    self._files, self._root = fs.LocalFileSystem(), str(place.absolute())
                else:
                    self._files, self._root = fs.FileSystem.from_uri(place)
            except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
                reason = storage.without_login(str(error))
                raise InputError(reason, where="artifacts", allowed="a URL such as s3://bucket/folder") from error
            self._files.create_dir(f"{self._root}/{_UNFINISHED}", recursive=True)
        self._local = isinstance(self._files, fs.LocalFileSystem)
        self._reader = Reader(self._files, "" if isinstance(place, Path) else place)
        self._signer = link_signer(self._files, place)
        # An object store that does not answer may be back soon; a full disk, or one without permission, is not.
        self._errors = partial(translate_errors, kind=StorageError if self._local else Unavailable)

    def put(self, content: bytes) -> Blob:
        """Store `content`, as `put_all` does."""
        return self.put_all([content])[0]

    def put_all(self, contents: Sequence[bytes]) -> list[Blob]:
        """Store the content of files, noted in one transaction. The same content is stored once.

        Raises:
            StorageError: the disk is full, or permission is missing.
        """
        blobs = [Blob(hashlib.sha256(content).hexdigest(), len(content)) for content in contents]
        self._table.touch(blobs)  # first, so that none is removed any more
        for blob, content in dict(zip(blobs, contents, strict=True)).items():
            if self._is_there(blob):
                continue
            unfinished, stream = self._open_unfinished()
            try:
                with self._errors("an artifact"), stream:
                    stream.write(content)
                self._move_into_place(unfinished, blob)
            except BaseException:
                self._discard(unfinished)
                raise
        return blobs

    def upload(self, limit: int | None = None) -> Upload:
        """Begin a file that is written in parts, of at most `limit` bytes.

        Raises:
            StorageError: the file cannot be written.
        """
        return Upload(self, limit)

    def open(self, digest: str) -> BinaryIO:
        """Open a file for reading and seeking.

        Raises:
            NotFound: there is no such file.
            StorageError: it cannot be read.
        """
        with self._errors("an artifact", "read"):
            try:
                file: BinaryIO = self._reader.open(self._path(digest))
            except FileNotFoundError:
                raise NotFound("the file is not kept any more") from None
        return file

    def chunks(self, digest: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """`length` bytes from `start`, in chunks: the answer to a range request.

        Raises:
            NotFound: there is no such file. Raised by the call itself, not by the iterator.
        """
        return read_chunks(self.open(digest), start, length, self._errors)

    def direct_link(self, digest: str, seconds: int, headers: Mapping[str, str]) -> str | None:
        """A link to a file in the store itself, as `LinkSigner.sign` makes it; None where the store has none."""
        return None if self._signer is None else self._signer.sign(self._path(digest), seconds, headers)

    @contextlib.contextmanager
    def path(self, digest: str) -> Iterator[Path]:
        """The file as a local path, for libraries that need one; a temporary copy if the store is not local.

        Raises:
            NotFound: there is no such file.
        """
        if self._local:
            path = Path(self._path(digest))
            if not path.is_file():
                raise NotFound("the file is not kept any more")
            yield path
            return
        with temporary_copy(self.chunks(digest)) as copy:
            yield copy

    def check(self) -> None:
        """Check that files can be reached. Takes less than a second.

        Raises:
            StorageError: they cannot.
        """
        with self._errors("the artifact store", "reached"):
            self._reader.check(f"{self._root}/{_UNFINISHED}")

    def mark(self) -> str | None:
        """The text that `set_mark` left in the store; None if there is none."""
        with self._errors("the artifact store", "read"):
            try:
                with self._files.open_input_file(f"{self._root}/{_MARK}") as file:
                    return bytes(file.read()).decode()
            except FileNotFoundError:
                return None

    def set_mark(self, text: str) -> None:
        """Leave a text in the store, by which it is known again."""
        with self._errors("the artifact store"), self._files.open_output_stream(f"{self._root}/{_MARK}") as file:
            file.write(text.encode())

    def collect(self, grace: float, referenced: Any) -> int:
        """Remove files without references that were not touched in the last `grace` seconds. Returns bytes freed.

        Args:
            referenced: a select of the referenced digests.
        """
        freed, before = 0, self._clock() - grace
        for page in file_pages(self._database, before):
            with self._database.read() as connection:
                used = set(connection.execute(among(referenced, list(page))).scalars())
            for digest in page.keys() - used:
                freed += self._remove(digest, BLOBS.c.touched_at < before, ~among(referenced, [digest]).exists())
        self._clear_unfinished(grace)
        return freed

    def drop(self, digest: str) -> None:
        """Remove a file at once. The caller knows that nothing refers to it, now or later."""
        self._remove(digest)

    def _remove(self, digest: str, *where: ColumnElement[bool]) -> int:
        """Remove a file if all conditions of `where` hold. Returns bytes freed."""
        # The file is deleted within the transaction, so that a concurrent `put` waits for its row and writes it again.
        with self._database.write_beside() as connection:
            removal = delete(BLOBS).where(BLOBS.c.digest == digest, *where).returning(BLOBS.c.bytes)
            if (size := connection.execute(removal).scalar_one_or_none()) is None:
                return 0
            with self._errors("an artifact"), contextlib.suppress(FileNotFoundError):
                self._files.delete_file(self._path(digest))
            return int(size)

    def _clear_unfinished(self, grace: float) -> None:
        """Remove the files of uploads that were never finished or closed."""
        limit = time.time() - max(grace, 3600.0)  # the clock of the file system, not `self._clock`
        with self._errors("unfinished uploads", "listed"):
            infos = self._files.get_file_info(fs.FileSelector(f"{self._root}/{_UNFINISHED}"))
        for info in infos:
            if info.is_file and info.mtime_ns is not None and info.mtime_ns < limit * 1e9:
                with contextlib.suppress(OSError):
                    self._files.delete_file(info.path)

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise NotFound("no such file")
        return f"{self._root}/{digest[:2]}/{digest}"

    def _open_unfinished(self) -> tuple[str, Any]:
        path = f"{self._root}/{_UNFINISHED}/{secrets.token_hex(12)}"
        with self._errors("an artifact"):
            return path, self._files.open_output_stream(path)

    def _keep(self, unfinished: str, blob: Blob) -> None:
        """Move a finished file to its place under its digest, unless that file exists already."""
        self._table.touch([blob])
        if self._is_there(blob):
            self._discard(unfinished)
        else:
            self._move_into_place(unfinished, blob)

    def _move_into_place(self, unfinished: str, blob: Blob) -> None:
        path = self._path(blob.digest)
        with self._errors("an artifact"):
            if not self._local:
                self._files.create_dir(path.rpartition("/")[0], recursive=True)
                self._files.move(unfinished, path)
                return
            # A reference must hold after a power cut, so flush the content first, then the name.
            folder = Path(path).parent
            storage.flush(Path(unfinished))
            storage.make_folder(folder)
            os.replace(unfinished, path)
            storage.flush_folder(folder)

    def _is_there(self, blob: Blob) -> bool:
        """Whether a file, which was noted just now, is there already."""
        path = self._path(blob.digest)
        with self._errors("an artifact"):
            if not self._files.get_file_info(path).is_file:
                return False
            if self._local:  # the process that moved it there may have died before its flush
                storage.flush_folder(Path(path).parent)
        return True

    def _discard(self, unfinished: str) -> None:
        with contextlib.suppress(OSError):
            self._files.delete_file(unfinished)

    @contextlib.contextmanager
    def _local_path(self, unfinished: str) -> Iterator[Path]:
        """An unfinished file as a local path; a temporary copy if the store is not local."""
        if self._local:
            yield Path(unfinished)
            return
        with self._errors("an artifact", "read"):
            file: BinaryIO = self._files.open_input_file(unfinished)
        with temporary_copy(read_chunks(file, 0, None, self._errors)) as copy:
            yield copy


class Upload:
    """A file that is being written. It is invisible until `finish`; leaving the context without that removes it."""

    def __init__(self, artifacts: Artifacts, limit: int | None) -> None:
        self._artifacts, self._limit = artifacts, limit
        self._hash = hashlib.sha256()
        self._done = self._closed = False
        self._path, self._stream = artifacts._open_unfinished()
        self._counted = 0
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._artifacts._unfinished.add(-self._counted)
        if not self._done:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._artifacts._discard(self._path)

    def write(self, part: bytes) -> None:
        """Append bytes.

        Raises:
            InputError: the file exceeds its limit.
            Overloaded: the unfinished uploads together exceed their limit.
            StorageError: the disk is full.
        """
        self.bytes += len(part)
        if self._limit is not None:
            if self.bytes > self._limit:
                raise InputError(f"more than {self._limit} bytes", where="upload", allowed=f"up to {self._limit} bytes")
            self._artifacts._unfinished.add(len(part))
            self._counted += len(part)
        self._hash.update(part)
        with self._artifacts._errors("an artifact"):
            self._stream.write(part)

    @contextlib.contextmanager
    def as_path(self) -> Iterator[Path]:
        """The file as a local path, to inspect it before `finish`. No more bytes can be written afterwards.

        Raises:
            StorageError: the disk is full.
        """
        self._close()
        with self._artifacts._local_path(self._path) as path:
            yield path

    def finish(self) -> Blob:
        """Move the file into the store.

        Raises:
            StorageError: the disk is full.
        """
        self._close()
        blob = Blob(self._hash.hexdigest(), self.bytes)
        self._artifacts._keep(self._path, blob)
        self._done = True
        return blob

    def _close(self) -> None:
        if not self._closed:
            with self._artifacts._errors("an artifact"):
                self._stream.close()
            self._closed = True
