"""Folders in a place where everybody may write: closed to others, and alive as long as their owner is."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from acestep_flows.errors import StorageError
from acestep_flows.runtime.serving import private_folder
from acestep_flows.runtime.serving.local_ray import SOCKET_ROOM
from acestep_flows.runtime.serving.private_folder import PREFIX, abandoned, new_folder

OWNER = """
import sys, time
from acestep_flows.runtime.serving.private_folder import new_folder
print(new_folder().root, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(private_folder, "OTHER_PLACES", ())
    monkeypatch.setattr(private_folder, "LONGEST_SOCKET", 4000)  # pytest's own folders have long paths


def roots() -> set[Path]:
    """The folders that count as abandoned; each is unlocked again."""
    found = list(abandoned())
    for folder in found:
        os.close(folder.lock)
    return {folder.root for folder in found}


def left_by_a_dead_owner() -> Path:
    folder = new_folder()
    os.close(folder.lock)
    return folder.root


def test_it_is_closed_to_others_whatever_is_inside() -> None:
    before = os.umask(0)
    try:
        folder = new_folder()
    finally:
        os.umask(before)
    folder.content.chmod(0o777)  # as Ray does
    assert folder.root.stat().st_mode & 0o077 == 0
    assert folder.content.parent == folder.root
    assert (folder.root / "lock").stat().st_mode & 0o077 == 0
    folder.remove()
    assert not folder.root.exists()


def test_it_is_abandoned_when_its_owner_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, env=own_place()) as owner:
        assert owner.stdout is not None
        root = Path(owner.stdout.readline().strip())
        assert root.is_dir()
        assert roots() == set()
        owner.kill()
        owner.wait(10)
    assert roots() == {root}


def own_place() -> dict[str, str]:
    return os.environ | {"TMPDIR": tempfile.gettempdir()}


def test_processes_that_the_owner_starts_do_not_hold_it() -> None:
    folder = new_folder()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        os.close(folder.lock)
        assert roots() == {folder.root}
        child.kill()


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o710, 0o702])
def test_folders_that_are_open_to_others_are_not_taken_up(mode: int) -> None:
    root = left_by_a_dead_owner()
    root.chmod(mode)
    assert roots() == set()


def test_nor_is_a_lock_that_others_may_write() -> None:
    root = left_by_a_dead_owner()
    (root / "lock").chmod(0o666)
    assert roots() == set()


def test_nor_are_links(tmp_path: Path) -> None:
    root = left_by_a_dead_owner()
    real = root.rename(tmp_path / "elsewhere")
    root.symlink_to(real)
    assert roots() == set()
    root.unlink()
    real.rename(root)
    (root / "lock").unlink()
    (root / "lock").symlink_to(tmp_path / "made")
    assert roots() == set()
    assert not (tmp_path / "made").exists()


def test_nor_a_lock_that_is_a_pipe() -> None:
    root = left_by_a_dead_owner()
    (root / "lock").unlink()
    os.mkfifo(root / "lock", 0o600)
    assert roots() == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_nor_those_of_another_user() -> None:
    root = left_by_a_dead_owner()
    os.chown(root, 65534, 65534)
    assert roots() == set()


def test_a_place_with_a_long_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    long = tmp_path / ("d" * 120)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = new_folder(room=SOCKET_ROOM)
    assert len(os.fsencode(folder.content)) + SOCKET_ROOM <= private_folder.LONGEST_SOCKET
    folder.remove()


def test_no_place_is_one_line_that_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_folder, "LONGEST_SOCKET", 50)
    with pytest.raises(StorageError, match="set TMPDIR to a short path of your own .*bytes too long") as refused:
        new_folder(room=40)
    assert "\n" not in str(refused.value)


def test_a_place_where_others_rename_what_is_there_is_none(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)  # without the sticky bit
    with pytest.raises(StorageError, match="others may rename"):
        new_folder()
    assert not list(tmp_path.glob(f"{PREFIX}*"))
    tmp_path.chmod(0o1777)
    new_folder().remove()


def test_it_is_made_again_if_it_was_taken_for_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between making the lock and taking it, another start may remove the folder."""
    real, tries = fcntl.flock, []

    def flock(descriptor: int, how: int) -> None:
        tries.append(descriptor)
        if len(tries) == 1:
            raise BlockingIOError
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = new_folder()
    assert len(tries) == 2
    assert folder.content.is_dir()
    folder.remove()
