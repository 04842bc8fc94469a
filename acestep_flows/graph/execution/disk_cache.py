"""The disk tier of the cache: outputs of nodes by key, shared by every process that uses the same folder.

One entry is one safetensors file, so it appears, is replaced and is evicted in one step. Its header carries a JSON
manifest (which port holds what) and the manifest's checksum. Reading checks all of it: the checksum, the key the
entry was written for, and the digest of every value. An entry that fails a check is removed, and computed again.

Nothing is synced to the disk: a power cut may lose or tear entries, and a torn entry fails its checks.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from acestep_flows.errors import FlowsError, StorageError
from acestep_flows.graph.content import Handle, Outputs, sha256
from acestep_flows.graph.execution.key_lock import KeyLock, claim
from acestep_flows.values import Value, pack, unpack

log = logging.getLogger(__name__)

SCHEMA = 1
STALE_SECONDS = 3600.0
"""Age in seconds at which an unfinished file is removed: the process that wrote it died."""

_SUFFIX, _UNFINISHED, _CLAIM = ".safetensors", ".part", ".claim"
_COUNTER = itertools.count()
_UNSOUND = (
    OSError,
    SafetensorError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    FlowsError,
)
"""Exceptions from reading an entry that is damaged or was written by another program."""


def nothing_needed() -> float | None:
    """The time since which entries are needed: none are, so any may be evicted."""
    return None


class DiskStore:
    """A folder of entries within a byte budget; the least recently used go first. Thread-safe.

    Args:
        root: the folder, made when first written to.
        budget: bytes all entries together may take. Processes that share a folder share the budget; each may
            overshoot by a sixteenth of it before it looks at what the others wrote.
        needed_since: gives seconds since the epoch; entries used then or later stay, whatever the budget, because
            runs under way may need them again. None: no run is under way.
    """

    def __init__(
        self, root: Path, budget: int = 20 * 2**30, needed_since: Callable[[], float | None] = nothing_needed
    ) -> None:
        self.root, self.budget = root, budget
        self._needed_since = needed_since
        self._lock = threading.Lock()
        self._used: int | None = None
        self._written = 0

    def path(self, key: str) -> Path:
        """The file of the entry of `key`, whether or not it exists."""
        return self.root / key[:2] / (key + _SUFFIX)

    def __contains__(self, key: str) -> bool:
        return self.path(key).exists()

    def claim(self, key: str) -> KeyLock | None:
        """The lock of `key`, or None while another process has it."""
        return claim(self.root / key[:2] / (key + _CLAIM))

    def read(self, key: str) -> dict[str, Any] | None:
        """The outputs under `key` with their values, every digest checked; None without a sound entry."""
        path = self.path(key)
        try:
            with safe_open(path, framework="numpy") as file:
                manifest = _manifest(file.metadata(), key)
                values = [_value(file, index, entry) for index, entry in enumerate(manifest["values"])]
            outputs = _decode(manifest["outputs"], values)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            log.warning("cache entry %s cannot be read: %s", path, error)
            return None
        except _UNSOUND as error:
            self._drop(path, error)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return outputs

    def touch(self, key: str) -> None:
        """Mark the outputs under `key` as used, though they were not read from here."""
        with contextlib.suppress(OSError):
            os.utime(self.path(key))

    def peek(self, key: str) -> Outputs | None:
        """The outputs under `key` with handles without tokens, for a dry run. Values are neither read nor checked."""
        try:
            with safe_open(self.path(key), framework="numpy") as file:
                manifest = _manifest(file.metadata(), key)
            handles = [Handle(entry["kind"], entry["digest"], entry["nbytes"]) for entry in manifest["values"]]
            return _decode(manifest["outputs"], handles)
        except _UNSOUND:
            return None

    def find(self, kind: str, digest: str) -> Value | None:
        """A value by its digest, from any entry; None without one. May read the headers of all entries."""
        for _, _, path in sorted(self._scan(), reverse=True):
            key = path.name.removesuffix(_SUFFIX)
            try:
                with safe_open(path, framework="numpy") as file:
                    for index, entry in enumerate(_manifest(file.metadata(), key)["values"]):
                        if (entry["kind"], entry["digest"]) == (kind, digest):
                            return _value(file, index, entry)
            except _UNSOUND:
                continue
        return None

    def write(self, key: str, outputs: Mapping[str, Any], stage: str) -> None:
        """Store `outputs` under `key`, making room first; an entry larger than the budget is not stored.

        Raises:
            StorageError: no space, no permission, not a folder.
        """
        path = self.path(key)
        unfinished = path.with_name(f"{key}.{os.getpid()}.{next(_COUNTER)}{_UNFINISHED}")
        tensors, metadata = _encode_entry(key, outputs, stage)
        # The header is JSON that holds the manifest as a string: each quote takes two bytes.
        header = 2 * len(metadata["manifest"]) + 512 * (1 + len(tensors))
        size = sum(tensor.nbytes for tensor in tensors.values()) + header
        if size > self.budget:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            save_file(tensors, unfinished, metadata)
            os.replace(unfinished, path)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise StorageError(f"{self.root}: the cache cannot be written: {_reason(error)}") from error

    def _make_room(self, size: int) -> None:
        with self._lock:
            self._written += size
            if self._used is None or self._used + size > self.budget or self._written > self.budget // 16:
                self._used, self._written = self._evict(self.budget - size), size
            self._used += size

    def _evict(self, limit: int) -> int:
        """Bring the folder to `limit` bytes or a little below, least recently used first; returns the bytes left."""
        entries = sorted(self._scan())
        used = sum(size for _, size, _ in entries)
        goal = limit if used <= limit else limit - self.budget // 20  # slack, so that not every write evicts
        now = time.time()
        needed = self._needed_since() if used > goal else None
        for modified, size, path in entries:
            stale = path.name.endswith(_UNFINISHED) and now - modified > STALE_SECONDS
            idle = path.name.endswith(_SUFFIX) and (needed is None or modified < needed)
            if stale or (used > goal and idle):
                with contextlib.suppress(OSError):
                    os.unlink(path)
                used -= size
        return used

    def _scan(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and path of every entry and unfinished file."""
        for folder in _entries_of(self.root):
            if folder.is_dir(follow_symlinks=False) and len(folder.name) == 2:
                for file in _entries_of(folder.path):
                    if file.name.endswith((_SUFFIX, _UNFINISHED)):
                        with contextlib.suppress(OSError):
                            status = file.stat(follow_symlinks=False)
                            yield status.st_mtime, status.st_size, Path(file.path)

    def _drop(self, path: Path, error: Exception) -> None:
        log.warning("cache entry %s is damaged and removed: %s", path, error)
        with contextlib.suppress(OSError):
            path.unlink()


def _entries_of(folder: str | Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _encode_entry(key: str, outputs: Mapping[str, Any], stage: str) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors and metadata of an entry. Equal values are stored once."""
    tensors: dict[str, NDArray[Any]] = {}
    values: list[dict[str, Any]] = []
    index_of: dict[str, int] = {}

    def index(content: Any) -> Any:
        if not isinstance(content, Value):
            return {"json": content}
        if content.digest not in index_of:
            index_of[content.digest] = len(values)
            arrays, fields = pack(content)
            for name, array in arrays.items():
                tensors[f"{len(values)}.{name}"] = np.asarray(array, order="C")
            handle = {"kind": content.kind, "digest": content.digest, "nbytes": content.nbytes}
            values.append({**handle, "arrays": sorted(arrays), "fields": fields})
        return {"value": index_of[content.digest]}

    ports = {port: _encode(content, index) for port, content in outputs.items()}
    # ASCII, unlike canonical JSON: headers are UTF-8, and text may hold lone surrogates.
    entry = {"schema": SCHEMA, "key": key, "stage": stage, "outputs": ports, "values": values}
    manifest = json.dumps(entry, separators=(",", ":"), allow_nan=False)
    return tensors, {"manifest": manifest, "sha256": sha256(manifest)}


def _encode(content: Any, leaf: Any) -> Any:
    """Content as JSON that names its form: `{"list": ...}`, `{"map": ...}`, and what `leaf` makes of the rest."""
    if isinstance(content, (list, tuple)):
        return {"list": [_encode(part, leaf) for part in content]}
    if isinstance(content, Mapping):
        return {"map": {name: _encode(part, leaf) for name, part in content.items()}}
    return leaf(content)


def _decode(ports: Any, values: list[Any]) -> dict[str, Any]:
    """The outputs that were encoded, with `values` by index."""

    def decode(node: Any) -> Any:
        ((form, content),) = node.items()
        if form == "list":
            return [decode(part) for part in content]
        if form == "map":
            return {name: decode(part) for name, part in content.items()}
        return values[content] if form == "value" else content

    return {port: decode(node) for port, node in ports.items()}


def _manifest(metadata: Mapping[str, str] | None, key: str) -> Any:
    """The manifest of a header, checked.

    Raises:
        ValueError, KeyError, TypeError: it is damaged, or not of the entry of `key`.
    """
    text = (metadata or {})["manifest"]
    if (metadata or {})["sha256"] != sha256(text):
        raise ValueError("checksum of the manifest")
    manifest = json.loads(text)
    if manifest["schema"] != SCHEMA or manifest["key"] != key:
        raise ValueError("written for another key or by another version")
    return manifest


def _value(file: Any, index: int, entry: Mapping[str, Any]) -> Value:
    arrays = {name: file.get_tensor(f"{index}.{name}") for name in entry["arrays"]}
    value = unpack(entry["kind"], arrays, entry["fields"])
    if value.digest != entry["digest"]:
        raise ValueError(f"digest of {entry['kind']}")
    return value


def _reason(error: Exception) -> str:
    full = f"os error {errno.ENOSPC}" in str(error)  # as safetensors tells it
    if full or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return "no space left"
    return getattr(error, "strerror", None) or str(error)
