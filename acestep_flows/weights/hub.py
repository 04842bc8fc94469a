"""The download of a model and of the lyric vocabulary into one folder, as `Checkpoint.open` expects it.

Nothing is downloaded that the cache of huggingface_hub has: its files are verified, and linked or copied. What is
missing is downloaded, by default into that cache. The hub's address is that of the library (which follows HF_ENDPOINT)
unless another endpoint is given.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, DownloadError, NotFound, StorageError
from acestep_flows.settings import check_proxies
from acestep_flows.weights import hub_cache
from acestep_flows.weights.download import RETRY_DELAYS, Download, TransferListener, TransferProgress, download
from acestep_flows.weights.published import (
    PublishedFile,
    PublishedFiles,
    PublishedVocab,
    published,
    total_bytes,
    vocab_content_sha256,
)

if TYPE_CHECKING:
    import httpx2

__all__ = [
    "PublishedFile", "PublishedFiles", "PublishedVocab", "default_folder", "fetch", "installed", "is_fetched",
    "published", "vocab_content_sha256",
]  # fmt: skip

LYRIC_VOCAB = "lyric-vocab.json"
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0


def default_folder(cache_folder: Path, published_files: PublishedFiles | None = None) -> Path:
    """The default folder of a fetched model."""
    return cache_folder / "checkpoints" / (published_files or published()).folder_name


def is_fetched(folder: Path, published_files: PublishedFiles | None = None) -> bool:
    """Whether every published file is in `folder` with its published size."""
    return all(_size(folder / file.path) == file.bytes for file in (published_files or published()).files)


def installed(cache_folder: Path, repo: str) -> Path | None:
    """The folder of a model of the hub on this machine; None where it is not here. Asks no server.

    Of the published model this is the published revision, of others the newest one that was fetched. A model that only
    another program has fetched is used where it lies, in the hub's cache.
    """
    if repo == published().repo:
        if is_fetched(default_folder(cache_folder)):
            return default_folder(cache_folder)
        places = [hub_cache.find(repo, "model", published().revision, file.path) for file in published().files]
        first = published().files[0].path
        return places[0].parents[first.count("/")] if all(places) and places[0] else None
    snapshot = hub_cache.newest(repo)
    if snapshot is None:
        return None
    ours = cache_folder / "checkpoints" / f"{repo.rpartition('/')[2]}-{snapshot.name[:8]}"
    return ours if ours.is_dir() else snapshot


def fetch(
    folder: Path,
    *,
    published_files: PublishedFiles | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    lyric_vocab: Path | None = None,
    lyric_vocab_path: str | None = None,
    share: bool = False,
    listener: TransferListener = lambda progress: None,
    retry_delays: Sequence[float] = RETRY_DELAYS,
) -> Path:
    """Bring a model and the lyric vocabulary to `folder`. Files that are there or in the hub's cache are only verified.

    The call may be interrupted and repeated at any time. Of several processes the first one fetches, and the others
    wait for it.

    Args:
        folder: the destination; created if it is missing.
        published_files: the files to fetch; by default those of the published model.
        endpoint: address of the hub; by default that of huggingface_hub.
        token: sent to the hub, but not to addresses it redirects to.
        lyric_vocab: a local copy of the vocabulary, used in place of the one in the space and checked equally.
        lyric_vocab_path: path of the vocabulary in the space, in place of the known ones.
        share: keep the model's files in the hub's cache, with links to them in `folder`; by default `folder` has files
            of its own.
        listener: called with the progress about every megabyte.
        retry_delays: seconds between attempts while no byte arrives.

    Raises:
        NotFound, DownloadError, StorageError: as `download`. Also a DownloadError where HF_HUB_OFFLINE is set and a
            file is missing.
        CheckpointError: `lyric_vocab` is not the vocabulary of this model.
    """
    model = published_files or published()
    vocab = replace(model.vocab, paths=(lyric_vocab_path,)) if lyric_vocab_path else model.vocab
    with _locked(folder), _client(token) as client:
        fetching = _Fetch(client, folder, endpoint, share, listener, retry_delays)
        # The vocabulary is small and more likely to have moved, so it comes before the gigabytes of weights.
        if lyric_vocab is not None:
            _copy_vocab(lyric_vocab, folder / LYRIC_VOCAB, vocab)
        else:
            fetching.vocab(vocab)
        fetching.model(model)
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create `folder` and hold its lock. The lock ends with the process, also when it is killed."""
    from filelock import FileLock

    lock = FileLock(folder / ".fetch.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def _client(token: str | None) -> httpx2.Client:
    import httpx2

    from acestep_flows import __version__

    check_proxies()
    headers = {"User-Agent": f"acestep-flows/{__version__}"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return httpx2.Client(
        headers=headers, follow_redirects=True, timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    )


def _url(repo: str, kind: str, revision: str, path: str, endpoint: str | None) -> str:
    from huggingface_hub import hf_hub_url

    repo_type = None if kind == "model" else kind
    return hf_hub_url(repo, path, repo_type=repo_type, revision=revision, endpoint=endpoint)


@dataclass(frozen=True)
class _Fetch:
    """One call of `fetch`."""

    client: httpx2.Client
    folder: Path
    endpoint: str | None
    share: bool
    listener: TransferListener
    retry_delays: Sequence[float]

    def model(self, model: PublishedFiles) -> None:
        """Bring the model's files to the folder."""
        absent = [file for file in model.files if not self._is_intact(self.folder / file.path, file)]
        cached = {file.path: place for file in absent if (place := self._cached(model, file)) is not None}
        missing = [file for file in absent if file.path not in cached]
        self._check_possible(model, missing, [] if self.share else [file for file in absent if file.path in cached])
        for path, place in cached.items():
            self._put(place, self.folder / path)
        for file in missing:
            self._download(model, file)

    def vocab(self, vocab: PublishedVocab) -> None:
        """Bring the vocabulary to the folder."""
        destination = self.folder / LYRIC_VOCAB
        if _size(destination) is not None and vocab_content_sha256(destination) == vocab.content_sha256:
            return
        for path in vocab.paths:
            place = hub_cache.find(vocab.repo, vocab.kind, vocab.revision, path)
            if place is not None and vocab_content_sha256(place) == vocab.content_sha256:
                hub_cache.copy(place, destination)
                return
        if hub_cache.is_offline():
            raise DownloadError(
                "HF_HUB_OFFLINE is set, and the lyric vocabulary is not on this machine; "
                "give a local copy (--lyric-vocab), or fetch without that"
            )
        for path in vocab.paths:
            url = _url(vocab.repo, vocab.kind, vocab.revision, path, self.endpoint)
            vocab_download = Download(url, destination, LYRIC_VOCAB, None, vocab.content_sha256, vocab_content_sha256)
            try:
                download(self.client, vocab_download, self.listener, self.retry_delays)
            except NotFound:
                continue
            return
        raise NotFound(
            f"the lyric vocabulary is not in the space {vocab.repo} at {' or '.join(vocab.paths)}; "
            "give its path there (--lyric-vocab-path) or a local copy (--lyric-vocab)"
        )

    def _is_intact(self, place: Path, file: PublishedFile) -> bool:
        """Whether a local file has the published size and digest."""
        if _size(place) != file.bytes:
            return False

        def verified(done: int) -> None:
            self.listener(TransferProgress(file.path, "verify", done, file.bytes))

        return file.digest(place, verified) == file.expected_digest

    def _cached(self, model: PublishedFiles, file: PublishedFile) -> Path | None:
        """The file in the hub's cache, if it is there and intact."""
        place = hub_cache.find(model.repo, model.kind, model.revision, file.path)
        return place if place is not None and self._is_intact(place, file) else None

    def _destination(self, model: PublishedFiles, file: PublishedFile) -> Path:
        """Where a download goes. One that an earlier version began in the folder goes on there."""
        own = self.folder / file.path
        if not self.share or own.with_name(f"{own.name}.part").is_file():
            return own
        return hub_cache.blob(model.repo, model.kind, file.expected_digest)

    def _check_possible(
        self, model: PublishedFiles, missing: Sequence[PublishedFile], copied: Sequence[PublishedFile]
    ) -> None:
        """Refuse before the first byte where the network is forbidden, or the disk has too little space."""
        if missing and hub_cache.is_offline():
            raise DownloadError(
                f"HF_HUB_OFFLINE is set, and {len(missing)} files of {model.repo} "
                f"({total_bytes(missing) / 1e9:.1f} GB) are not on this machine; fetch without that"
            )
        places = [self._destination(model, file) for file in missing]
        parts = sum(_size(place.with_name(f"{place.name}.part")) or 0 for place in places)
        needed = total_bytes(missing) + total_bytes(copied) - parts
        disk = places[0] if places else self.folder
        while not disk.exists():
            disk = disk.parent
        free = shutil.disk_usage(disk).free
        if needed > free:
            raise StorageError(f"{disk}: {needed / 1e9:.1f} GB to fetch, but only {free / 1e9:.1f} GB free")

    def _download(self, model: PublishedFiles, file: PublishedFile) -> None:
        destination = self._destination(model, file)
        url = _url(model.repo, model.kind, model.revision, file.path, self.endpoint)
        digests = (file.expected_digest, file.digest)
        file_download = Download(url, destination, file.path, file.bytes, *digests)
        download(self.client, file_download, self.listener, self.retry_delays)
        own = self.folder / file.path
        if destination != own:
            self._put(hub_cache.enter(model.repo, model.kind, model.revision, file.path, destination), own)

    def _put(self, cached: Path, place: Path) -> None:
        if self.share:
            hub_cache.link(cached, place)
        else:
            hub_cache.copy(cached, place)


def _copy_vocab(source: Path, destination: Path, vocab: PublishedVocab) -> None:
    """Copy a local vocabulary to `destination` after checking its content."""
    try:
        digest = vocab_content_sha256(source)
        if digest != vocab.content_sha256:
            raise CheckpointError(
                "not the lyric vocabulary of this model", where=str(source), allowed=f"content {vocab.content_sha256}"
            )
        content = source.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot copy {source} to {destination}: {error.strerror or error}") from error
    storage.write(destination, content)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
