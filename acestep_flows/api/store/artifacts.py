"""The artifact store: files by the sha256 of their content, in a folder or S3-compatible storage (through pyarrow).

A file appears whole or not at all, and never changes. `retention` removes files without references. A new file is safe
until its reference is written, because files that were touched lately are not removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

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
from acestep_flows.api.store.unfinished_files import UnfinishedFiles, error_translator, open_place
from acestep_flows.errors import InputError, NotFound

MOST_UNFINISHED = 4 << 30
"""Total bytes of unfinished uploads. Each upload has a limit, but many of them together could fill the disk."""


_DIGEST = re.compile(r"[0-9a-f]{64}")
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
        self._files, self._root = open_place(place)
        url = "" if isinstance(place, Path) else place
        self._unfinished_files = UnfinishedFiles(self._files, self._root, url)
        with translate_errors(storage.without_login(f"{place}")):
            self._files.create_dir(self._unfinished_files.folder, recursive=True)
        self._local = isinstance(self._files, fs.LocalFileSystem)
        self._reader = Reader(self._files, url)
        self._signer = link_signer(self._files, place)
        self._errors = error_translator(self._local)

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
            self._move_or_discard(self._unfinished_files.write(content), blob)
        return blobs

    @property
    def unfinished_elsewhere(self) -> UnfinishedFiles | None:
        """Where other processes write files that `keep_all` places; None of a store that only this machine has."""
        return None if self._local else self._unfinished_files

    def keep_all(self, files: Sequence[tuple[str, Blob]]) -> None:
        """Give unfinished files, by path and content, their places, noted in one transaction.

        Raises:
            StorageError: they cannot be moved.
        """
        self._table.touch([blob for _, blob in files])  # first, so that none is removed any more
        for unfinished, blob in files:
            if self._is_there(blob):
                self._unfinished_files.discard(unfinished)
            else:
                self._move_or_discard(unfinished, blob)

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
            self._reader.check(self._unfinished_files.folder)

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
        self._unfinished_files.clear(grace)
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

    def _path(self, digest: str) -> str:
        if not _DIGEST.fullmatch(digest):
            raise NotFound("no such file")
        return f"{self._root}/{digest[:2]}/{digest}"

    def _move_or_discard(self, unfinished: str, blob: Blob) -> None:
        try:
            self._move_into_place(unfinished, blob)
        except BaseException:
            self._unfinished_files.discard(unfinished)
            raise

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


class Upload:
    """A file that is being written. It is invisible until `finish`; leaving the context without that removes it."""

    def __init__(self, artifacts: Artifacts, limit: int | None) -> None:
        self._artifacts, self._limit = artifacts, limit
        self._hash = hashlib.sha256()
        self._done = self._closed = False
        self._path, self._stream = artifacts._unfinished_files.open()
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
            self._artifacts._unfinished_files.discard(self._path)

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
        with self._artifacts._unfinished_files.local_path(self._path) as path:
            yield path

    def finish(self) -> Blob:
        """Move the file into the store.

        Raises:
            StorageError: the disk is full.
        """
        self._close()
        blob = Blob(self._hash.hexdigest(), self.bytes)
        self._artifacts.keep_all([(self._path, blob)])
        self._done = True
        return blob

    def _close(self) -> None:
        if not self._closed:
            with self._artifacts._errors("an artifact"):
                self._stream.close()
            self._closed = True
