"""The checkpoint that is used where none is given: small, made on first use, kept in the cache folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from acestep_flows.errors import StorageError
from acestep_flows.model.random import SMALL, Sizes, write_random_checkpoint

DEFAULT = ("untrained-1", SMALL, 0)
"""Folder name, sizes and seed. A new name for new content: a folder that exists is taken as it is."""

NOTICE = "Untrained: seeded random weights. Songs made with them sound like noise."


def embedded_checkpoint(cache_dir: Path) -> Path:
    """The folder of the embedded checkpoint in `cache_dir`, made if it is not there yet.

    It appears under its name only when it is complete; of processes that make it at the same time, one wins.

    Raises:
        StorageError: it cannot be written.
    """
    name, sizes, seed = DEFAULT
    folder = cache_dir / "embedded" / name
    if not folder.is_dir():
        _make(folder, sizes, seed)
    return folder


def _make(folder: Path, sizes: Sizes, seed: int) -> None:
    from safetensors import SafetensorError

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StorageError(f"{folder.parent}: cannot make the embedded model here: {error.strerror}") from None
    try:
        write_random_checkpoint(unfinished, sizes, seed)
        (unfinished / "README.txt").write_text(NOTICE + "\n", encoding="utf-8")
        with suppress(OSError):  # somebody else was faster: theirs is the same
            os.replace(unfinished, folder)
    except (OSError, SafetensorError) as error:  # a full disk is a SafetensorError when its library writes
        raise StorageError(f"{folder}: cannot write the embedded model: {error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    if not folder.is_dir():
        raise StorageError(f"{folder}: cannot put the embedded model here")
