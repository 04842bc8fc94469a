"""Cached file digests."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from acestep_flows.model import digests as digests_module
from acestep_flows.model.digests import FileDigests


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"some weights")
    return path


@pytest.fixture(autouse=True)
def settled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of this moment count as settled, but for tests of that."""
    if "recent" not in request.node.name:
        monkeypatch.setattr(digests_module, "SETTLED_NS", 0)


def change_secretly(file: Path) -> None:
    """Change the content but neither size nor modification time."""
    time.sleep(0.02)  # a step of the file system's clock
    stamp = file.stat()
    file.write_bytes(b"x" * stamp.st_size)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def replace_secretly(file: Path) -> None:
    """Put another file of equal size and modification time in its place."""
    stamp = file.stat()
    other = file.with_suffix(".new")
    other.write_bytes(b"x" * stamp.st_size)
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    other.replace(file)


def no_reading(*_: object) -> None:
    raise AssertionError("the file was read")


def test_the_digest_is_sha256(file: Path) -> None:
    assert FileDigests().sha256(file) == hashlib.sha256(b"some weights").hexdigest()


def test_a_second_object_takes_the_cached_digest(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = FileDigests(tmp_path / "cache").sha256(file)
    monkeypatch.setattr(hashlib, "file_digest", no_reading)
    assert FileDigests(tmp_path / "cache").sha256(file) == digest
    with pytest.raises(AssertionError):
        FileDigests().sha256(file)


@pytest.mark.parametrize("change", [change_secretly, replace_secretly])
@pytest.mark.parametrize("restart", [False, True])
def test_other_content_of_equal_size_and_time_is_noticed(
    file: Path, tmp_path: Path, change: Callable[[Path], None], restart: bool
) -> None:
    digests = FileDigests(tmp_path / "cache")
    before = digests.sha256(file)
    change(file)
    after = (FileDigests(tmp_path / "cache") if restart else digests).sha256(file)
    assert after == hashlib.sha256(b"x" * len(b"some weights")).hexdigest() != before


def test_a_digest_of_a_recent_file_is_not_kept(file: Path, tmp_path: Path) -> None:
    """A change within the same step of the file system's clock would not show."""
    FileDigests(tmp_path / "cache").sha256(file)
    assert not (tmp_path / "cache").exists()
    old = time.time_ns() - 10 * digests_module.SETTLED_NS
    os.utime(file, ns=(old, old))
    FileDigests(tmp_path / "cache").sha256(file)
    assert not (tmp_path / "cache").exists(), "the change time is still of this moment"


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
