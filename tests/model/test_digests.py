"""Cached file digests."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from acestep_flows.model.digests import FileDigests


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"some weights")
    return path


def change_secretly(file: Path) -> None:
    """Change the content but not size and time, so that only a cached digest is still the old one."""
    stamp = file.stat()
    file.write_bytes(b"x" * stamp.st_size)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_the_digest_is_sha256(file: Path) -> None:
    assert FileDigests().sha256(file) == hashlib.sha256(b"some weights").hexdigest()


def test_a_second_object_takes_the_cached_digest(file: Path, tmp_path: Path) -> None:
    digest = FileDigests(tmp_path / "cache").sha256(file)
    change_secretly(file)
    assert FileDigests(tmp_path / "cache").sha256(file) == digest
    assert FileDigests().sha256(file) != digest


def test_a_changed_file_is_read_again(file: Path, tmp_path: Path) -> None:
    digests = FileDigests(tmp_path / "cache")
    digests.sha256(file)
    file.write_bytes(b"longer than before")
    assert digests.sha256(file) == hashlib.sha256(b"longer than before").hexdigest()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"stamp": "x", "sha256": 1}', b"\xff\xfe"])
def test_a_damaged_entry_is_computed_again(file: Path, tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "cache"
    digest = FileDigests(folder).sha256(file)
    (entry,) = folder.iterdir()
    entry.write_bytes(damage)
    assert FileDigests(folder).sha256(file) == digest


def test_a_cache_folder_that_cannot_be_made_is_no_error(file: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands where the folder should")
    assert FileDigests(tmp_path / "cache").sha256(file) == hashlib.sha256(b"some weights").hexdigest()
