"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from acestep_flows import storage
from acestep_flows.errors import StorageError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


LIMIT = 10_000


@contextmanager
def small_files() -> Iterator[None]:
    """The kernel refuses to let a file of this process grow beyond the limit, in the middle of a write.

    Only for the write itself: the test runner's own output may be a file, too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write anywhere: act as nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_makes_missing_folders_and_replaces_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "song.wav"
    assert storage.write(path, b"old") == path
    storage.write(path, b"new")
    assert contents(path.parent) == {"song.wav": b"new"}


def test_new_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    storage.write(tmp_path / "stored", b"")
    assert (tmp_path / "stored").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_takes_names_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".wav")
    assert storage.write(path, b"1").read_bytes() == b"1"


def test_names_are_flushed_after_what_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power cut may take a file away that somebody was told of."""
    flushed: list[str] = []
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append("file" if path.is_file() else str(path.relative_to(tmp_path)))
        whole(descriptor)

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc to see what is flushed")
    monkeypatch.setattr(os, "fsync", fsync)
    storage.write(tmp_path / "a" / "b" / "song.wav", b"1")
    assert flushed == [".", "a", "file", "a/b"]
    flushed.clear()
    storage.write(tmp_path / "a" / "b" / "other.wav", b"1")
    assert flushed == ["file", "a/b"]
    flushed.clear()
    with storage.new_folder(tmp_path / "made") as folder:
        (folder / "song.wav").write_bytes(b"1")
    assert flushed == ["file", ".made.unfinished", "."]


def test_a_file_system_that_cannot_flush_folders_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        whole(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert storage.write(tmp_path / "song.wav", b"1").read_bytes() == b"1"


def test_a_write_that_stops_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"old")
    with small_files(), pytest.raises(StorageError, match=r"song.wav: cannot be written: File too large"):
        storage.write(path, b"x" * (LIMIT + 1))
    assert contents(tmp_path) == {"song.wav": b"old"}


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        storage.write(tmp_path / "song.wav", b"x")
    assert contents(tmp_path) == {}


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        storage.write(tmp_path / "song.wav", b"x")
    assert contents(tmp_path) == {}


def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with unprivileged(), pytest.raises(StorageError, match=r"song.wav: cannot be written: Permission denied"):
        storage.write(tmp_path / "song.wav", b"x")
    assert contents(tmp_path) == {}


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        storage.write(tmp_path / "file" / "song.wav", b"x")


def test_a_target_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "song.wav").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        storage.write(tmp_path / "song.wav", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


def fill(folder: Path, *, fail_at: int = 9) -> None:
    """Three files, one of them deeper; the writing of number `fail_at` fails."""
    for number in range(3):
        if number == fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        file = folder / ("deeper" if number else "") / str(number)
        file.parent.mkdir(exist_ok=True)
        file.write_text("new")


@pytest.mark.parametrize("fail_at", range(3))
def test_a_folder_that_cannot_be_filled_leaves_the_old_one(tmp_path: Path, fail_at: int) -> None:
    target = tmp_path / "export"
    for there in (False, True):
        with (
            pytest.raises(StorageError, match="export: cannot be written"),
            storage.new_folder(target) as new,
        ):
            fill(new, fail_at=fail_at)
        assert target.is_dir() is there
        assert [path.name for path in tmp_path.iterdir()] == ["export"] * there
        target.mkdir(exist_ok=True)
    with storage.new_folder(target) as new:
        fill(new)
    assert sorted(path.name for path in target.rglob("*") if path.is_file()) == ["0", "1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_folder_takes_the_place_of_another_and_of_what_a_kill_left(tmp_path: Path) -> None:
    target = tmp_path / "export"
    for name in ("export", ".export.unfinished", ".export.former"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    with storage.new_folder(target) as new:
        (new / "file").write_text("new")
        assert (target / "old").is_file()
    assert contents(target) == {"file": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_folder_that_cannot_be_written_is_known_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        storage.check_folder(tmp_path / "file")
    storage.check_folder(tmp_path / "new" / "folder")
    assert not list((tmp_path / "new" / "folder").iterdir())


def test_a_file_is_written_piece_by_piece_and_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    with storage.new_file(target) as file:
        file.write(b"one ")
        assert not target.exists()
        file.write(b"two")
    assert target.read_bytes() == b"one two"
    with pytest.raises(TypeError), storage.new_file(target) as file:
        file.write(None)  # type: ignore[call-overload]
    assert target.read_bytes() == b"one two"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_finished_part_takes_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / ".part").write_bytes(b"new")
    (tmp_path / "file").write_bytes(b"old")
    storage.put_in_place(tmp_path / ".part", tmp_path / "file")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"new")]
