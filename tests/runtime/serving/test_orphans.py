"""What a killed server leaves, and that the next one clears it away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from acestep_flows.runtime.serving import orphans, private_folder
from acestep_flows.runtime.serving.private_folder import PrivateFolder, new_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(private_folder, "OTHER_PLACES", ())
    monkeypatch.setattr(private_folder, "LONGEST_SOCKET", 4000)  # pytest's own folders have long paths


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


def abandon(folder: PrivateFolder) -> None:
    """As if the owner had been killed: the system frees its lock."""
    os.close(folder.lock)


def listing(folder: PrivateFolder) -> Path:
    return folder.root / "processes.json"


def running(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def test_what_is_in_use_is_left_alone(sleeper: psutil.Process) -> None:
    folder = new_folder()
    orphans.note(folder, [sleeper])
    orphans.clear()
    assert folder.root.is_dir()
    assert running(sleeper)


def test_what_a_dead_owner_left_is_cleared_away(sleeper: psutil.Process) -> None:
    folder = new_folder()
    orphans.note(folder, [sleeper])
    abandon(folder)
    orphans.clear()
    assert not folder.root.exists()
    assert not running(sleeper)


@pytest.mark.parametrize("clock", [-1e6, 1e6])
def test_the_clock_does_not_matter(sleeper: psutil.Process, clock: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of birth that psutil tells changes with the clock; a living owner's folder stays, a dead one's goes."""
    folder = new_folder()
    orphans.note(folder, [sleeper])
    real = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: real(process) + clock)
    orphans.clear()
    assert folder.root.is_dir()
    assert running(sleeper)
    if sys.platform == "linux":
        abandon(folder)
        orphans.clear()
        assert not folder.root.exists()
        assert not running(sleeper)


def test_a_number_that_was_given_anew_is_not_ours(sleeper: psutil.Process) -> None:
    folder = new_folder()
    orphans.note(folder, [sleeper])
    content = json.loads(listing(folder).read_text())
    content["processes"][0][1] -= 500
    listing(folder).write_text(json.dumps(content))
    abandon(folder)
    orphans.clear()
    assert running(sleeper)


def test_numbers_of_another_container_or_start_of_the_system_are_not_ours(sleeper: psutil.Process) -> None:
    folder = new_folder()
    orphans.note(folder, [sleeper])
    content = json.loads(listing(folder).read_text()) | {"system": "another"}
    listing(folder).write_text(json.dumps(content))
    abandon(folder)
    orphans.clear()
    assert not folder.root.exists()
    assert running(sleeper)


def test_an_owner_in_another_container_lives(sleeper: psutil.Process) -> None:
    """Its process id says nothing here, its lock does."""
    folder = new_folder()
    orphans.note(folder, [])
    listing(folder).write_text(json.dumps({"system": "another", "processes": [[2**22 + 1, 1.0]]}))
    orphans.clear()
    assert folder.root.is_dir()


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_lists_in_folders_that_others_may_enter_kill_nobody(sleeper: psutil.Process, mode: int) -> None:
    folder = new_folder()
    orphans.note(folder, [sleeper])
    abandon(folder)
    folder.root.chmod(mode)
    orphans.clear()
    assert folder.root.is_dir()
    assert running(sleeper)


def test_nor_does_a_list_that_others_may_write(sleeper: psutil.Process) -> None:
    folder = new_folder()
    orphans.note(folder, [sleeper])
    listing(folder).chmod(0o666)
    abandon(folder)
    orphans.clear()
    assert running(sleeper)


def test_nor_does_a_list_elsewhere(sleeper: psutil.Process, tmp_path: Path) -> None:
    folder = new_folder()
    orphans.note(folder, [sleeper])
    listing(folder).rename(tmp_path / "list")
    listing(folder).symlink_to(tmp_path / "list")
    abandon(folder)
    orphans.clear()
    assert running(sleeper)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_nor_does_a_list_of_another_user(sleeper: psutil.Process) -> None:
    folder = new_folder()
    orphans.note(folder, [sleeper])
    abandon(folder)
    os.chown(folder.root, 65534, 65534)
    orphans.clear()
    assert folder.root.is_dir()
    assert running(sleeper)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"nonsense", b"[1, 2]", b'{"system": 1}'])
def test_folders_of_others_are_left_alone(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / f"{private_folder.PREFIX}x"
    folder.mkdir()
    (folder / "processes.json").write_bytes(content)
    (tmp_path / f"{private_folder.PREFIX}empty").mkdir()
    orphans.clear()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"nonsense", b"[" * 100_000, b'{"processes": [[1, 2]]}'])
def test_a_damaged_list_of_our_own_goes_with_its_folder(content: bytes) -> None:
    folder = new_folder()
    listing(folder).write_bytes(content)
    listing(folder).chmod(0o600)
    abandon(folder)
    orphans.clear()
    assert not folder.root.exists()


def test_paths_are_short_enough_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    folder = new_folder()
    socket = folder.content / "session_2026-01-01_00-00-00_000000_0000000" / "sockets" / "plasma_store"
    assert len(os.fsencode(socket)) < 100
    folder.remove()
