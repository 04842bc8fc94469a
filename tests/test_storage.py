"""Files and folders are complete or absent."""

from __future__ import annotations

import errno
import hashlib
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
    """Limit the size of files of this process, so that a write fails in the middle.

    It must enclose only the write, because the test runner's own output may be a file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as the user nobody, because root may write anywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_missing_folders_are_created_and_old_content_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "song.wav"
    assert storage.write(path, b"old") == path
    storage.write(path, b"new")
    assert contents(path.parent) == {"song.wav": b"new"}


def test_new_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    storage.write(tmp_path / "stored", b"")
    assert (tmp_path / "stored").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_names_may_have_the_maximum_length(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".wav")
    assert storage.write(path, b"1").read_bytes() == b"1"


def test_names_are_flushed_after_their_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut may remove a file that was already reported as written."""
    flushed: list[str] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        flushed.append("file" if path.is_file() else str(path.relative_to(tmp_path)))
        original(descriptor)

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


def test_a_file_system_that_cannot_flush_folders_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        original(descriptor)

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


def test_a_folder_that_is_not_writable_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with unprivileged(), pytest.raises(StorageError, match=r"song.wav: cannot be written: Permission denied"):
        storage.write(tmp_path / "song.wav", b"x")
    assert contents(tmp_path) == {}


def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        storage.write(tmp_path / "file" / "song.wav", b"x")


def test_a_target_that_is_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "song.wav").mkdir()
    with pytest.raises(StorageError, match="Is a directory"):
        storage.write(tmp_path / "song.wav", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["song.wav"]


def fill(folder: Path, *, fail_at: int = 9) -> None:
    """Write three files, two of them in a subfolder. Writing file number `fail_at` fails."""
    for number in range(3):
        if number == fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        file = folder / ("deeper" if number else "") / str(number)
        file.parent.mkdir(exist_ok=True)
        file.write_text("new")


@pytest.mark.parametrize("fail_at", range(3))
def test_a_folder_that_cannot_be_filled_leaves_the_old_one(tmp_path: Path, fail_at: int) -> None:
    target = tmp_path / "export"
    for exists in (False, True):
        with (
            pytest.raises(StorageError, match="export: cannot be written"),
            storage.new_folder(target) as new,
        ):
            fill(new, fail_at=fail_at)
        assert target.is_dir() is exists
        assert [path.name for path in tmp_path.iterdir()] == ["export"] * exists
        target.mkdir(exist_ok=True)
    with storage.new_folder(target) as new:
        fill(new)
    assert sorted(path.name for path in target.rglob("*") if path.is_file()) == ["0", "1", "2"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_folder_replaces_another_and_leftovers_of_a_kill(tmp_path: Path) -> None:
    target = tmp_path / "export"
    for name in ("export", ".export.unfinished", ".export.former"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old")
    with storage.new_folder(target) as new:
        (new / "file").write_text("new")
        assert (target / "old").is_file()
    assert contents(target) == {"file": b"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_check_folder_refuses_an_unwritable_folder(tmp_path: Path) -> None:
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


def test_a_digest_is_over_all_bytes_and_says_how_many_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "READ_BYTES", 4)
    (tmp_path / "file").write_bytes(b"0123456789")
    read: list[int] = []
    digest = storage.file_sha256(tmp_path / "file", read.append)
    assert digest == hashlib.sha256(b"0123456789").hexdigest()
    assert read == [4, 8, 10]


@pytest.mark.parametrize(
    ("mode", "owner", "told"),
    [(0o700, None, ""), (0o775, None, ""), (0o777, None, "every user"), (0o700, 65_533, "belongs to another user")],
)
def test_folders_that_others_decide_about_are_known(tmp_path: Path, mode: int, owner: int | None, told: str) -> None:
    folder = tmp_path / "cache"
    assert storage.open_to_others(folder) == "", "there is none"
    folder.mkdir()
    folder.chmod(mode)
    if owner is not None:
        if os.geteuid() != 0:
            pytest.skip("only root gives folders away")
        os.chown(folder, owner, -1)
    assert told in storage.open_to_others(folder)
    assert bool(storage.open_to_others(folder)) is bool(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3://KEY:SE/CR+ET@songs/x", "s3://songs/x"),
        ("Cannot parse URI: 's3://KEY:SE/CRET@songs/x'", "Cannot parse URI: 's3://songs/x'"),
        ("postgresql://me:SECRET@host:5432/runs?sslmode=require", "postgresql://host:5432/runs?sslmode=require"),
        ("postgresql://host/runs?user=me&password=SECRET&x=1", "postgresql://host/runs?user=me&password=***&x=1"),
        ("host=db password='SEC RET' user=me", "host=db password=*** user=me"),
        ("https://s/o?X-Amz-Signature=SECRET&part=1", "https://s/o?X-Amz-Signature=***&part=1"),
        (
            "nothing secret: tags=lofi, seed=7, a@b, http://host:80/a",
            "nothing secret: tags=lofi, seed=7, a@b, http://host:80/a",
        ),
    ],
)
def test_secrets_are_not_told(text: str, told: str) -> None:
    assert storage.without_login(text) == told


def test_keys_in_urls_are_not_told() -> None:
    told = storage.without_login("s3://NAME:KEY@songs/job?region=x: cannot be written, file:///a@b")
    assert told == "s3://songs/job?region=x: cannot be written, file:///a@b"
