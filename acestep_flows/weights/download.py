"""A resumable download of one file, with verification and progress.

Bytes are written to `NAME.part` beside the destination. An interrupted transfer continues from there, in the same call
or in a later one. The part is renamed to the destination only when its digest is the expected one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from acestep_flows.errors import DownloadError, NotFound, StorageError
from acestep_flows.storage import file_sha256, put_in_place

if TYPE_CHECKING:
    import httpx2

CHUNK = 1 << 20
RETRY_DELAYS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt while no byte arrives. A transfer that advances starts over with the first."""


@dataclass(frozen=True)
class TransferProgress:
    """`done` of `total` bytes of the file `name` are downloaded or verified. `total` is 0 where unknown."""

    name: str
    action: Literal["download", "verify"]
    done: int
    total: int


TransferListener = Callable[[TransferProgress], None]


class _Interrupted(Exception):
    """The transfer stopped early and may be continued from the part."""


@dataclass(frozen=True)
class Download:
    """One file to download to `destination`.

    Attributes:
        url: its address; redirects are followed.
        destination: its path on disk.
        name: its name in progress and errors.
        size: its bytes; None where unknown.
        sha256: the expected result of `digest`.
        digest: computes the digest of the finished file; by default over its bytes.
    """

    url: str
    destination: Path
    name: str
    size: int | None
    sha256: str
    digest: Callable[[Path, Callable[[int], None]], str] = file_sha256

    @property
    def part(self) -> Path:
        """The path of the unfinished file."""
        return self.destination.with_name(self.destination.name + ".part")


def download(
    client: httpx2.Client,
    file: Download,
    listener: TransferListener = lambda progress: None,
    retry_delays: Sequence[float] = RETRY_DELAYS,
) -> None:
    """Download one file to its destination. An existing part is continued.

    Args:
        listener: called with the progress.
        retry_delays: seconds between attempts while no byte arrives.

    Raises:
        NotFound: the server has no such file.
        DownloadError: there is no connection, the server refuses, or the content is not the expected one.
        StorageError: the file cannot be written.
    """
    resumed = _part_size(file.part) > 0
    _transfer(client, file, listener, retry_delays)
    digest = _verify(file, listener)
    if digest != file.sha256 and resumed:
        # The old part may be of another revision, so download once more from the first byte.
        _remove(file.part)
        _transfer(client, file, listener, retry_delays)
        digest = _verify(file, listener)
    if digest != file.sha256:
        _remove(file.part)
        raise DownloadError(f"{file.name}: wrong content from {file.url}: sha256 {digest}, expected {file.sha256}")
    try:
        put_in_place(file.part, file.destination)
    except OSError as error:
        raise _storage_error(file.destination, error) from error


def _transfer(client: httpx2.Client, file: Download, listener: TransferListener, retry_delays: Sequence[float]) -> None:
    """Fill the part. Attempts are repeated while bytes arrive or delays are left."""
    import httpx2

    waits = list(retry_delays)
    while True:
        before = _part_size(file.part)
        if file.size is not None and before == file.size:
            return
        try:
            _transfer_once(client, file, listener)
            return
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.TooManyRedirects) as error:
            raise DownloadError(f"{file.name}: cannot fetch {file.url}: {error}") from error
        except (httpx2.TransportError, _Interrupted) as error:
            if _part_size(file.part) > before:
                waits = list(retry_delays)
            elif not waits:
                reason = str(error) or type(error).__name__
                raise DownloadError(
                    f"{file.name}: {file.url}: {reason}; the bytes received so far are kept, fetch again to continue"
                ) from error
            time.sleep(waits.pop(0) if waits else 0.0)


def _transfer_once(client: httpx2.Client, file: Download, listener: TransferListener) -> None:
    """Request the missing bytes once and append them to the part."""
    start = _part_size(file.part)
    if file.size is not None and start > file.size:
        _remove(file.part)
        start = 0
    # Size and digest are those of the plain bytes, so the transfer must not be compressed.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", file.url, headers=headers) as response:
        _check_status(response, file)
        if response.status_code == 200:
            start = 0  # the server does not support ranges
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise DownloadError(f"{file.name}: {file.url} answered with another range than requested")
        announced = response.headers.get("Content-Length", "")
        total = start + int(announced) if announced.isdigit() else file.size or 0
        if file.size is not None and announced.isdigit() and total != file.size:
            raise DownloadError(f"{file.name}: {file.url} has {total} bytes, expected {file.size}")
        done = _append(
            response, file, start, lambda done: listener(TransferProgress(file.name, "download", done, total))
        )
    if done < total:
        raise _Interrupted(f"{done} of {total} bytes")


def _check_status(response: httpx2.Response, file: Download) -> None:
    """Raise the error of a status other than 200 and 206."""
    status = response.status_code
    if status in (200, 206):
        return
    if status == 404:
        raise NotFound(f"{file.name}: nothing at {file.url} (404)")
    if status == 416:  # the part is longer than the file on the server
        _remove(file.part)
        raise _Interrupted("range refused")
    if status in (408, 429) or status >= 500:
        raise _Interrupted(f"status {status}")
    hint = "; a hub token may be needed: set HF_TOKEN" if status in (401, 403) else ""
    raise DownloadError(f"{file.name}: {file.url} answered with status {status}{hint}")


def _append(response: httpx2.Response, file: Download, start: int, on_bytes: Callable[[int], None]) -> int:
    """Write the body after the first `start` bytes of the part, and return the part's new size."""
    done = start
    try:
        file.part.parent.mkdir(parents=True, exist_ok=True)
        part = file.part.open("ab" if start else "wb", buffering=0)  # counted bytes must be in the file
    except OSError as error:
        raise _storage_error(file.part, error) from error
    with part:
        on_bytes(done)
        for chunk in response.iter_raw():  # no chunk size: it would hold back bytes when the connection drops
            if file.size is not None and done + len(chunk) > file.size:
                raise DownloadError(f"{file.name}: {file.url} has more bytes than the {file.size} expected")
            rest = memoryview(chunk)
            try:
                while rest:
                    rest = rest[part.write(rest) :]
            except OSError as error:
                raise _storage_error(file.part, error) from error
            done += len(chunk)
            on_bytes(done)
    return done


def _verify(file: Download, listener: TransferListener) -> str:
    total = _part_size(file.part)
    return file.digest(file.part, lambda done: listener(TransferProgress(file.name, "verify", done, total)))


def _part_size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _storage_error(part, error) from error


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError as error:
        raise _storage_error(part, error) from error


def _storage_error(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot write {path}: {error.strerror or error}")
