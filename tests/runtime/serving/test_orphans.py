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

from acestep_flows.runtime.serving import orphans


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def sleeper() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


def abandon(folder: Path) -> None:
    """As if the owner had been killed: another process with its number would have begun at another time."""
    listed = json.loads((folder / "processes.json").read_text())
    listed[0][1] -= 1000
    (folder / "processes.json").write_text(json.dumps(listed))


def running(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


def test_what_is_in_use_is_left_alone(sleeper: psutil.Process) -> None:
    folder = orphans.new_folder()
    orphans.note(folder, [sleeper])
    orphans.clear()
    assert folder.is_dir()
    assert running(sleeper)


def test_what_a_dead_owner_left_is_cleared_away(sleeper: psutil.Process) -> None:
    folder = orphans.new_folder()
    orphans.note(folder, [sleeper])
    abandon(folder)
    orphans.clear()
    assert not folder.exists()
    assert not running(sleeper)


def test_a_number_that_was_given_anew_is_not_ours(sleeper: psutil.Process) -> None:
    folder = orphans.new_folder()
    orphans.note(folder, [])
    listed = json.loads((folder / "processes.json").read_text())
    listed.append([sleeper.pid, sleeper.create_time() - 5])
    (folder / "processes.json").write_text(json.dumps(listed))
    abandon(folder)
    orphans.clear()
    assert running(sleeper)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"nonsense", b"[1, 2]"])
def test_folders_of_others_are_left_alone(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / f"{orphans.PREFIX}x"
    folder.mkdir()
    (folder / "processes.json").write_bytes(content)
    (tmp_path / f"{orphans.PREFIX}empty").mkdir()
    orphans.clear()
    assert len(list(tmp_path.iterdir())) == 2


def test_paths_are_short_enough_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    folder = orphans.new_folder()
    socket = folder / "session_2026-01-01_00-00-00_000000_0000000" / "sockets" / "plasma_store"
    assert len(os.fsencode(socket)) < 100
    (folder / "processes.json").unlink()
    folder.rmdir()
