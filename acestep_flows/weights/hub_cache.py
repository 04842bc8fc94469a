"""The cache of huggingface_hub on this machine, which other programs share: files by repository, revision and path.

Its folder is that of HF_HUB_CACHE or HF_HOME. A repository has a folder with `blobs`, which are contents named by their
digests, `snapshots/REVISION`, whose files are links to blobs, and `refs`, which say what revision a branch was at.
Reading is left to the library. Its download throws an unfinished file away when it is interrupted, and the largest
file here has 6.6 GB, so `download.py` fetches a blob, and `enter` adds it in the library's layout.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from acestep_flows import storage
from acestep_flows.errors import StorageError

NAME = re.compile(
    r"(?=.{,96}$)(?!.*(--|\.\.|[.-]/|[.-]$|\.git$))[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*"
)
"""The name of a model on the hub, by its rules: ORG/NAME."""

MAIN = "main"


def is_offline() -> bool:
    """Whether the user has forbidden the library to use the network, with HF_HUB_OFFLINE."""
    from huggingface_hub import constants

    return constants.is_offline_mode()


def find(repo: str, kind: str, revision: str, path: str) -> Path | None:
    """A file of a repository in the cache; None where it is not there. `revision` is a commit or a branch."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, path, revision=revision, repo_type=kind)
    return Path(found) if isinstance(found, str) else None


def newest(repo: str) -> Path | None:
    """The snapshot of a model's main branch as it was last fetched; None where there is none."""
    folder = _folder(repo, "model")
    try:
        revision = (folder / "refs" / MAIN).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    snapshot = folder / "snapshots" / revision
    return snapshot if revision and snapshot.is_dir() else None


def blob(repo: str, kind: str, digest: str) -> Path:
    """Where the content with this digest belongs."""
    return _folder(repo, kind) / "blobs" / digest


def enter(repo: str, kind: str, revision: str, path: str, content: Path) -> Path:
    """Make a blob the file `path` of a revision, and return its place.

    Raises:
        StorageError: it cannot be written.
    """
    place = _folder(repo, kind) / "snapshots" / revision / path
    link(content, place, relative=True)
    return place


def set_main(repo: str, revision: str) -> None:
    """Remember that a model's main branch is at `revision`.

    Raises:
        StorageError: it cannot be written.
    """
    storage.write(_folder(repo, "model") / "refs" / MAIN, revision.encode())


def link(target: Path, place: Path, *, relative: bool = False) -> None:
    """Put a symbolic link to `target` at `place`, whatever was there; a copy where the file system has no links.

    Raises:
        StorageError: it cannot be written.
    """
    fresh = place.with_name(f".{place.name}.new")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)
        try:
            fresh.symlink_to(os.path.relpath(target, place.parent.resolve()) if relative else target)
        except OSError:
            shutil.copyfile(target, fresh)
        os.replace(fresh, place)
    except OSError as error:
        raise StorageError(f"cannot write {place}: {error.strerror or error}") from error


def copy(source: Path, place: Path) -> None:
    """Copy a file; `place` is the old file or the whole new one at any time.

    Raises:
        StorageError: it cannot be written.
    """
    fresh = place.with_name(f".{place.name}.new")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, fresh)
        storage.put_in_place(fresh, place)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StorageError(f"cannot write {place}: {error.strerror or error}") from error


def _folder(repo: str, kind: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE).expanduser() / repo_folder_name(repo_id=repo, repo_type=kind)
