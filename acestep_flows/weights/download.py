"""Download one file: resumable, verified before it takes its name, with progress.

Bytes go to `NAME.part` beside the destination. An interrupted transfer goes on from there, in the same call or in a
later one; only a file whose digest is the expected one is renamed to its destination.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from acestep_flows.errors import DownloadError, NotFound, StorageError
from acestep_flows.storage import put_in_place

if TYPE_CHECKING:
    import httpx

CHUNK = 1 << 20
PATIENCE = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each further attempt while no byte arrives; a transfer that advances starts over."""


@dataclass(frozen=True)
class TransferProgress:
    """`done` of `total` bytes of `name` are here, or checked; `total` is 0 where unknown."""

    name: str
    action: Literal["download", "verify"]
    done: int
    total: int


TransferListener = Callable[[TransferProgress], None]


class _Interrupted(Exception):
    """The transfer stopped early; going on from the part is worth a try."""


def file_sha256(path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> str:
    """sha256 (hex) of a file's bytes; `on_bytes` is told how many have been read."""
    hasher, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
            done += len(chunk)
            on_bytes(done)
    return hasher.hexdigest()


@dataclass(frozen=True)
class Download:
    """One file to bring to `destination`.

    Attributes:
        url: where it is; redirects are followed.
        name: what to call it in progress and errors.
        size: bytes, None where unknown.
        sha256: the digest that `digest` must find.
        digest: how to compute it from the finished file; over the bytes unless said otherwise.
    """

    url: str
    destination: Path
    name: str
    size: int | None
    sha256: str
    digest: Callable[[Path, Callable[[int], None]], str] = file_sha256

    @property
    def part(self) -> Path:
        return self.destination.with_name(self.destination.name + ".part")


def download(
    client: httpx.Client,
    what: Download,
    listener: TransferListener = lambda progress: None,
    patience: Sequence[float] = PATIENCE,
) -> None:
    """Bring one file to its destination, going on from its part where there is one.

    Raises:
        NotFound: the server has no such file.
        DownloadError: no connection, a refusal, or content other than expected.
        StorageError: it cannot be written.
    """
    resumed = _present(what.part) > 0
    _transfer(client, what, listener, patience)
    found = _verify(what, listener)
    if found != what.sha256 and resumed:
        # The old part may have been of another revision: once more, from the first byte.
        _remove(what.part)
        _transfer(client, what, listener, patience)
        found = _verify(what, listener)
    if found != what.sha256:
        _remove(what.part)
        raise DownloadError(f"{what.name}: wrong content from {what.url}: sha256 {found}, expected {what.sha256}")
    try:
        put_in_place(what.part, what.destination)
    except OSError as error:
        raise _unwritable(what.destination, error) from error


def _transfer(client: httpx.Client, what: Download, listener: TransferListener, patience: Sequence[float]) -> None:
    """Fill the part, trying again while attempts bring bytes or patience lasts."""
    import httpx

    waits = list(patience)
    while True:
        before = _present(what.part)
        if what.size is not None and before == what.size:
            return
        try:
            _attempt(client, what, listener)
            return
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise DownloadError(f"{what.name}: cannot fetch {what.url}: {error}") from error
        except (httpx.TransportError, _Interrupted) as error:
            if _present(what.part) > before:
                waits = list(patience)
            elif not waits:
                reason = str(error) or type(error).__name__
                raise DownloadError(
                    f"{what.name}: {what.url}: {reason}; what has arrived is kept for next time"
                ) from error
            time.sleep(waits.pop(0) if waits else 0.0)


def _attempt(client: httpx.Client, what: Download, listener: TransferListener) -> None:
    start = _present(what.part)
    if what.size is not None and start > what.size:
        _remove(what.part)
        start = 0
    # The size and digest are those of the plain bytes, so no compression on the way.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", what.url, headers=headers) as response:
        _check_status(response, what)
        if response.status_code == 200:
            start = 0  # the server does not do ranges
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise DownloadError(f"{what.name}: {what.url} answered with another range than asked for")
        announced = response.headers.get("Content-Length", "")
        total = start + int(announced) if announced.isdigit() else what.size or 0
        if what.size is not None and announced.isdigit() and total != what.size:
            raise DownloadError(f"{what.name}: {what.url} has {total} bytes, expected {what.size}")
        done = _append(
            response, what, start, lambda done: listener(TransferProgress(what.name, "download", done, total))
        )
    if done < total:
        raise _Interrupted(f"{done} of {total} bytes")


def _check_status(response: httpx.Response, what: Download) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    if status == 404:
        raise NotFound(f"{what.name}: nothing at {what.url} (404)")
    if status == 416:  # the part is longer than the file there
        _remove(what.part)
        raise _Interrupted("range refused")
    if status in (408, 429) or status >= 500:
        raise _Interrupted(f"status {status}")
    hint = "; a hub token may be needed: set HF_TOKEN" if status in (401, 403) else ""
    raise DownloadError(f"{what.name}: {what.url} answered with status {status}{hint}")


def _append(response: httpx.Response, what: Download, start: int, on_bytes: Callable[[int], None]) -> int:
    """Write the body behind the first `start` bytes of the part; the part's size after that."""
    done = start
    try:
        what.part.parent.mkdir(parents=True, exist_ok=True)
        file = what.part.open("ab" if start else "wb", buffering=0)  # what counts as arrived is in the file
    except OSError as error:
        raise _unwritable(what.part, error) from error
    with file:
        on_bytes(done)
        for chunk in response.iter_raw():  # as it comes: a chunk size would hold bytes back when the line drops
            if what.size is not None and done + len(chunk) > what.size:
                raise DownloadError(f"{what.name}: {what.url} has more bytes than the {what.size} expected")
            rest = memoryview(chunk)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                raise _unwritable(what.part, error) from error
            done += len(chunk)
            on_bytes(done)
    return done


def _verify(what: Download, listener: TransferListener) -> str:
    total = _present(what.part)
    return what.digest(what.part, lambda done: listener(TransferProgress(what.name, "verify", done, total)))


def _present(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _unwritable(part, error) from error


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(part, error) from error


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot write {path}: {error.strerror or error}")
