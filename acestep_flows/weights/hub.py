"""Fetch the published model and the lyric vocabulary from the hub into one folder that `Checkpoint.open` takes.

What is published, where, how large and with which digests are facts in `published.json`. The hub's address is that of
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
from acestep_flows.weights.download import PATIENCE, Download, TransferListener, TransferProgress, download, file_sha256

if TYPE_CHECKING:
    import httpx

LYRIC_VOCAB = "lyric-vocab.json"
CONNECT_SECONDS, READ_SECONDS = 15.0, 60.0


@dataclass(frozen=True)
class PublishedFile:
    """One file of the model: its path in the repository, which is also its path in the folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class PublishedVocab:
    """The lyric vocabulary in the upstream project's space.

    The space is a moving branch: the file has been in more than one place, so `paths` are tried in order, and what is
    checked is the parsed content (`content_sha256`), not its formatting.
    """

    repo: str
    kind: str
    revision: str
    paths: tuple[str, ...]
    content_sha256: str


@dataclass(frozen=True)
class PublishedFiles:
    """What there is to fetch."""

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
        return f"{self.repo.rpartition('/')[2]}-{self.revision[:8]}"

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> PublishedFiles:
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
    """The facts about the published ACE-Step v1 model."""
    text = files("acestep_flows").joinpath("published.json").read_text(encoding="utf-8")
    return PublishedFiles.from_json(json.loads(text))


def default_folder(cache_folder: Path, what: PublishedFiles | None = None) -> Path:
    """Where `fetch` puts a model when it is not told."""
    return cache_folder / "checkpoints" / (what or published()).folder_name


def is_fetched(folder: Path, what: PublishedFiles | None = None) -> bool:
    """Whether every published file lies in `folder` with its published size."""
    return all(_size(folder / file.path) == file.bytes for file in (what or published()).files)


def fetch(
    folder: Path,
    *,
    what: PublishedFiles | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    lyric_vocab: Path | None = None,
    lyric_vocab_path: str | None = None,
    listener: TransferListener = lambda progress: None,
    patience: Sequence[float] = PATIENCE,
) -> Path:
    """Bring the published model and the lyric vocabulary to `folder`; what is there and right is left alone.

    May be interrupted and called again at any moment, also by several processes at once: the first one fetches, the
    others wait and find the files there.

    Args:
        folder: made if need be.
        what: what to fetch; the published model by default.
        endpoint: address of the hub, that of huggingface_hub by default.
        token: sent to the hub, not to where it redirects.
        lyric_vocab: a local copy to take in place of the one in the space; checked just the same.
        lyric_vocab_path: path of the vocabulary in the space, in place of the known ones.
        listener: told about every megabyte.
        patience: seconds between attempts while nothing arrives.

    Raises:
        NotFound, DownloadError, StorageError: as `download`.
        CheckpointError: `lyric_vocab` is not the vocabulary of this model.
    """
    what = what or published()
    if lyric_vocab_path:
        what = replace(what, vocab=replace(what.vocab, paths=(lyric_vocab_path,)))
    with _alone_in(folder), _client(token) as client:
        # The vocabulary is small and the likelier one to have moved: know before gigabytes are under way.
        if lyric_vocab is not None:
            _adopt_vocab(lyric_vocab, folder / LYRIC_VOCAB, what.vocab)
        else:
            _fetch_vocab(client, folder / LYRIC_VOCAB, what.vocab, endpoint, listener, patience)
        missing = [file for file in what.files if not _is_right(folder, file, listener)]
        _check_room(folder, missing)
        for file in missing:
            url = _url(what.repo, what.kind, what.revision, file.path, endpoint)
            wanted = Download(url, folder / file.path, file.path, file.bytes, file.sha256)
            download(client, wanted, listener, patience)
    return folder


def vocab_content_sha256(path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> str:
    """sha256 (hex) of what a JSON file says, whatever its formatting; "not JSON" for one that says nothing."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return "not JSON"
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make `folder` and hold its lock, which ends with the process however that ends."""
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


def _client(token: str | None) -> httpx.Client:
    import httpx

    from acestep_flows import __version__

    headers = {"User-Agent": f"acestep-flows/{__version__}"} | ({"Authorization": f"Bearer {token}"} if token else {})
    return httpx.Client(
        headers=headers, follow_redirects=True, timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    )


def _url(repo: str, kind: str, revision: str, path: str, endpoint: str | None) -> str:
    from huggingface_hub import hf_hub_url

    repo_type = None if kind == "model" else kind
    return hf_hub_url(repo, path, repo_type=repo_type, revision=revision, endpoint=endpoint)


def _is_right(folder: Path, file: PublishedFile, listener: TransferListener) -> bool:
    path = folder / file.path
    if _size(path) != file.bytes:
        return False
    return file.sha256 == file_sha256(
        path, lambda done: listener(TransferProgress(file.path, "verify", done, file.bytes))
    )


def _check_room(folder: Path, missing: Sequence[PublishedFile]) -> None:
    """Refuse to begin what cannot be finished."""
    parts = [folder / f"{file.path}.part" for file in missing]
    needed = sum(file.bytes for file in missing) - sum(_size(part) or 0 for part in parts)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(f"{folder}: {needed / 1e9:.1f} GB to fetch, but only {free / 1e9:.1f} GB free")


def _fetch_vocab(
    client: httpx.Client,
    destination: Path,
    vocab: PublishedVocab,
    endpoint: str | None,
    listener: TransferListener,
    patience: Sequence[float],
) -> None:
    if _size(destination) is not None and vocab_content_sha256(destination) == vocab.content_sha256:
        return
    for path in vocab.paths:
        url = _url(vocab.repo, vocab.kind, vocab.revision, path, endpoint)
        wanted = Download(url, destination, LYRIC_VOCAB, None, vocab.content_sha256, vocab_content_sha256)
        try:
            download(client, wanted, listener, patience)
        except NotFound:
            continue
        return
    raise NotFound(
        f"the lyric vocabulary is not in the space {vocab.repo} at {' or '.join(vocab.paths)}; "
        "give its path there (--lyric-vocab-path) or a local copy (--lyric-vocab)"
    )


def _adopt_vocab(source: Path, destination: Path, vocab: PublishedVocab) -> None:
    """Copy a local vocabulary into the folder, if it is the one."""
    try:
        found = vocab_content_sha256(source)
        if found != vocab.content_sha256:
            raise CheckpointError(
                "not the lyric vocabulary of this model", where=str(source), allowed=f"content {vocab.content_sha256}"
            )
        content = source.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot copy {source} to {destination}: {error.strerror or error}") from error
    storage.write(destination, content)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
