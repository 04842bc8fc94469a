"""The files of any model on the hub in the published layout, with sizes and digests, as the hub states them."""

from __future__ import annotations

import re
from pathlib import Path

from acestep_flows.errors import DownloadError, InputError, NotFound
from acestep_flows.settings import check_proxies
from acestep_flows.weights import hub_cache
from acestep_flows.weights.published import PublishedFile, PublishedFiles, published

SUFFIXES = (".json", ".safetensors")
SHA256 = re.compile(r"[0-9a-f]{64}")


def listing(repo: str, endpoint: str | None = None, token: str | None = None) -> PublishedFiles:
    """The files of the model `repo` at its newest revision. Without a network: as the hub's cache has them.

    Raises:
        InputError: not a model's name.
        NotFound: the hub has no such model, or it is not in the published layout.
        DownloadError: the hub does not answer or refuses, and the cache does not have the model.
    """
    if not hub_cache.NAME.fullmatch(repo):
        raise InputError(f"{repo!r} is not a model's name", where="fetch", allowed="ORG/NAME, as the hub has it")
    cached = _cached(repo)
    if hub_cache.is_offline():
        if cached is None:
            raise DownloadError(f"HF_HUB_OFFLINE is set, and {repo} is not in the hub's cache; fetch it without that")
        return cached
    try:
        return _online(repo, endpoint, token)
    except DownloadError:
        if cached is None:
            raise
        return cached


def _online(repo: str, endpoint: str | None, token: str | None) -> PublishedFiles:
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    check_proxies()
    try:
        about = HfApi(endpoint=endpoint, token=token or False).model_info(repo, files_metadata=True)
    except GatedRepoError as error:
        raise DownloadError(f"{repo} needs a licence that its authors grant, and a token: set HF_TOKEN") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 404):  # the hub answers 401 for names that it does not know
            raise NotFound(f"the hub has no model {repo!r}, or a private one; for that set HF_TOKEN") from error
        raise DownloadError(f"{repo}: the hub answered with status {error.response.status_code}") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise DownloadError(f"{repo}: the hub does not answer: {str(error) or type(error).__name__}") from error
    files = [
        PublishedFile(file.rfilename, file.size or 0, sha256=file.lfs.sha256)
        if file.lfs
        else PublishedFile(file.rfilename, file.size or 0, sha256="", git_id=file.blob_id or "")
        for file in about.siblings or ()
    ]
    return _in_layout(repo, about.sha or "", files)


def _cached(repo: str) -> PublishedFiles | None:
    """The files of the newest snapshot in the hub's cache. The names of their blobs are their digests."""
    snapshot = hub_cache.newest(repo)
    if snapshot is None:
        return None
    files = [_cached_file(snapshot, path) for path in sorted(snapshot.rglob("*")) if path.is_file()]
    try:
        return _in_layout(repo, snapshot.name, files)
    except NotFound:
        return None  # a part of it, fetched by another program


def _cached_file(snapshot: Path, path: Path) -> PublishedFile:
    blob = path.resolve().name
    name = path.relative_to(snapshot).as_posix()
    is_sha256 = SHA256.fullmatch(blob) is not None
    return PublishedFile(name, path.stat().st_size, blob if is_sha256 else "", "" if is_sha256 else blob)


def _in_layout(repo: str, revision: str, files: list[PublishedFile]) -> PublishedFiles:
    """Those files that belong to a checkpoint; all that it needs must be among them."""
    from acestep_flows.model.checkpoint import PARTS, part_files

    chosen = [file for file in files if file.path.split("/")[0] in PARTS and file.path.endswith(SUFFIXES)]
    needed = {f"{part}/{name}" for part in PARTS for name in part_files(part)}
    missing = sorted(needed - {file.path for file in chosen})
    if missing:
        raise NotFound(
            f"{repo} is not a model in the layout of {published().repo}: it has no {missing[0]}; "
            "an adapter is given to a graph, not as a checkpoint"
        )
    return PublishedFiles(repo, "model", revision, tuple(chosen), published().vocab)
