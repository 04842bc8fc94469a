"""The download of the published model and its lyric vocabulary into one folder, as `Checkpoint.open` expects it.

`published.json` has the repositories, paths, sizes and digests of the files. The hub's address is that of
`huggingface_hub` (which follows HF_ENDPOINT) unless another endpoint is given.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep_flows import storage
from acestep_flows.errors import CheckpointError, NotFound, StorageError
from acestep_flows.storage import file_sha256
from acestep_flows.weights.download import RETRY_DELAYS, Download, TransferListener, TransferProgress, download

if TYPE_CHECKING:
    import httpx2

LYRIC_VOCAB = "lyric-vocab.json"
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0


@dataclass(frozen=True)
class PublishedFile:
    """One file of the model. It has the same path in the repository and in the folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PublishedVocab:
    """The lyric vocabulary in the upstream project's space.

    The space is a branch that changes, and the file has been moved. `paths` are therefore tried in order, and
    `content_sha256` is the digest of the parsed content, whatever its formatting.
    """

    repo: str
    kind: str
    revision: str
    paths: tuple[str, ...]
    content_sha256: str


@dataclass(frozen=True)
class PublishedFiles:
    """The files to fetch."""

    repo: str
    kind: str
    revision: str
    files: tuple[PublishedFile, ...]
    vocab: PublishedVocab

    @property
    def total(self) -> int:
        """Bytes of all model files."""
        return sum(file.bytes for file in self.files)

    @property
    def folder_name(self) -> str:
        """The name of the folder for this revision."""
        return f"{self.repo.rpartition('/')[2]}-{self.revision[:8]}"

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PublishedFiles:
        """Read the parsed `published.json`."""
        model, vocab = content["model"], content["lyric_vocab"]
        return cls(
            model["repo"],
            model["kind"],
            model["revision"],
            tuple(PublishedFile(**file) for file in model["files"]),
            PublishedVocab(**{**vocab, "paths": tuple(vocab["paths"])}),
        )


@cache
def published() -> PublishedFiles:
    """The files of the published ACE-Step v1 model."""
    text = files("acestep_flows.weights").joinpath("published.json").read_text(encoding="utf-8")
    return PublishedFiles.from_json(json.loads(text))


def default_folder(cache_folder: Path, published_files: PublishedFiles | None = None) -> Path:
    """The default folder of a fetched model."""
    return cache_folder / "checkpoints" / (published_files or published()).folder_name


def is_fetched(folder: Path, published_files: PublishedFiles | None = None) -> bool:
    """Whether every published file is in `folder` with its published size."""
    return all(_size(folder / file.path) == file.bytes for file in (published_files or published()).files)


def fetch(
    folder: Path,
    *,
    published_files: PublishedFiles | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    lyric_vocab: Path | None = None,
    lyric_vocab_path: str | None = None,
    listener: TransferListener = lambda progress: None,
    retry_delays: Sequence[float] = RETRY_DELAYS,
) -> Path:
    """Download the published model and the lyric vocabulary to `folder`. Intact files are not downloaded again.

    The call may be interrupted and repeated at any time. Of several processes the first one fetches, and the others
    wait for it.

    Args:
        folder: the destination; created if it is missing.
        published_files: the files to fetch; by default those of the published model.
        endpoint: address of the hub; by default that of huggingface_hub.
        token: sent to the hub, but not to addresses it redirects to.
        lyric_vocab: a local copy of the vocabulary, used in place of the one in the space and checked equally.
        lyric_vocab_path: path of the vocabulary in the space, in place of the known ones.
        listener: called with the progress about every megabyte.
        retry_delays: seconds between attempts while no byte arrives.

    Raises:
        NotFound, DownloadError, StorageError: as `download`.
        CheckpointError: `lyric_vocab` is not the vocabulary of this model.
    """
    model = published_files or published()
    vocab = replace(model.vocab, paths=(lyric_vocab_path,)) if lyric_vocab_path else model.vocab
    with _locked(folder), _client(token) as client:
        # The vocabulary is small and more likely to have moved, so it comes before the gigabytes of weights.
        if lyric_vocab is not None:
            _copy_vocab(lyric_vocab, folder / LYRIC_VOCAB, vocab)
        else:
            _fetch_vocab(client, folder / LYRIC_VOCAB, vocab, endpoint, listener, retry_delays)
        _fetch_model(client, folder, model, endpoint, listener, retry_delays)
    return folder


def vocab_content_sha256(path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> str:
    """sha256 (hex) of the parsed content of a JSON file; "not JSON" for any other file."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return "not JSON"
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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

    headers = {"User-Agent": f"acestep-flows/{__version__}"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return httpx2.Client(
        headers=headers, follow_redirects=True, timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    )


def _url(repo: str, kind: str, revision: str, path: str, endpoint: str | None) -> str:
    from huggingface_hub import hf_hub_url

    repo_type = None if kind == "model" else kind
    return hf_hub_url(repo, path, repo_type=repo_type, revision=revision, endpoint=endpoint)


def _is_intact(folder: Path, file: PublishedFile, listener: TransferListener) -> bool:
    """Whether the file is in `folder` with its published size and digest."""
    path = folder / file.path
    if _size(path) != file.bytes:
        return False
    return file.sha256 == file_sha256(
        path, lambda done: listener(TransferProgress(file.path, "verify", done, file.bytes))
    )


def _check_free_space(folder: Path, missing: Sequence[PublishedFile]) -> None:
    """Raise StorageError if the disk has too little space for the missing files."""
    parts = [folder / f"{file.path}.part" for file in missing]
    needed = sum(file.bytes for file in missing) - sum(_size(part) or 0 for part in parts)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(f"{folder}: {needed / 1e9:.1f} GB to fetch, but only {free / 1e9:.1f} GB free")


def _fetch_model(
    client: httpx2.Client,
    folder: Path,
    model: PublishedFiles,
    endpoint: str | None,
    listener: TransferListener,
    retry_delays: Sequence[float],
) -> None:
    missing = [file for file in model.files if not _is_intact(folder, file, listener)]
    _check_free_space(folder, missing)
    for file in missing:
        url = _url(model.repo, model.kind, model.revision, file.path, endpoint)
        file_download = Download(url, folder / file.path, file.path, file.bytes, file.sha256)
        download(client, file_download, listener, retry_delays)


def _fetch_vocab(
    client: httpx2.Client,
    destination: Path,
    vocab: PublishedVocab,
    endpoint: str | None,
    listener: TransferListener,
    retry_delays: Sequence[float],
) -> None:
    if _size(destination) is not None and vocab_content_sha256(destination) == vocab.content_sha256:
        return
    for path in vocab.paths:
        url = _url(vocab.repo, vocab.kind, vocab.revision, path, endpoint)
        vocab_download = Download(url, destination, LYRIC_VOCAB, None, vocab.content_sha256, vocab_content_sha256)
        try:
            download(client, vocab_download, listener, retry_delays)
        except NotFound:
            continue
        return
    raise NotFound(
        f"the lyric vocabulary is not in the space {vocab.repo} at {' or '.join(vocab.paths)}; "
        "give its path there (--lyric-vocab-path) or a local copy (--lyric-vocab)"
    )


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
