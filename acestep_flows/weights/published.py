"""What is to be fetched: the files of a model on the hub with their sizes and digests, and the lyric vocabulary.

`published.json` lists those of the published model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from acestep_flows.storage import file_sha256


@dataclass(frozen=True)
class PublishedFile:
    """One file of the model. It has the same path in the repository and in the folder.

    Attributes:
        sha256: of its bytes; empty where the hub gives only git's id.
        git_id: git's id of its content, which the hub gives for small files; empty where `sha256` is known.
    """

    path: str
    bytes: int
    sha256: str
    git_id: str = ""

    @property
    def expected_digest(self) -> str:
        """The expected result of `digest`. It also is the name of the file's content in the hub's cache."""
        return self.sha256 or self.git_id

    def digest(self, path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> str:
        """The digest of a local copy, of the kind that is known for this file."""
        return file_sha256(path, on_bytes) if self.sha256 else git_id(path)


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
        return total_bytes(self.files)

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


def total_bytes(some: Iterable[PublishedFile]) -> int:
    """Bytes of some files."""
    return sum(file.bytes for file in some)


@cache
def published() -> PublishedFiles:
    """The files of the published model, from `published.json`."""
    text = (files("acestep_flows.weights") / "published.json").read_text(encoding="utf-8")
    return PublishedFiles.from_json(json.loads(text))


def git_id(path: Path) -> str:
    """The id that git gives to the content of a file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def vocab_content_sha256(path: Path, on_bytes: Callable[[int], None] = lambda done: None) -> str:
    """sha256 (hex) of the parsed content of a JSON file; "not JSON" for any other file."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return "not JSON"
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
