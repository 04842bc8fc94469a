"""The folder of a job: whole files, and no folder that comes back by itself."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from pathlib import Path

import pytest

from acestep_flows.bulk.job_folder import STALE_SECONDS, JobFolder
from acestep_flows.errors import StorageError


@pytest.fixture(params=["path", "file", "memory"])
def job_folder(request: pytest.FixtureRequest, tmp_path: Path) -> JobFolder:
    """A folder, in each way it can be named; `memory` is a file system that pyarrow alone knows."""
    if request.param == "path":
        made = JobFolder(str(tmp_path / "job"))
    elif request.param == "file":
        made = JobFolder(f"file://{tmp_path / 'job'}")
    else:
        made = JobFolder(f"local://{tmp_path / 'job'}")
        from pyarrow import fs

        made._opened["found"] = (fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "job")
        made.__dict__["local"] = None
    made.prepare()
    return made


def test_files_come_back(job_folder: JobFolder) -> None:
    job_folder.write("a/b/c.bin", b"one")
    job_folder.write("a/b/c.bin", b"two")
    assert job_folder.read("a/b/c.bin") == b"two"
    assert job_folder.names("a/b") == ["c.bin"]
    job_folder.delete("a/b/c.bin")
    job_folder.delete("a/b/c.bin")
    assert job_folder.read("a/b/c.bin") is None
    assert job_folder.names("a/b") == job_folder.names("nowhere") == []


def test_what_is_half_written_is_not_listed(job_folder: JobFolder) -> None:
    job_folder.write("a/.hidden.part", b"")
    assert job_folder.names("a") == []


def test_hidden_files_are_listed_on_request(job_folder: JobFolder) -> None:
    job_folder.write("a/.hidden", b"")
    job_folder.write("a/plain", b"")
    assert (job_folder.names("a"), job_folder.names("a", hidden=True)) == (["plain"], [".hidden"])
    assert job_folder.names("nowhere", hidden=True) == []


def test_files_are_moved_in_place_of_others(job_folder: JobFolder) -> None:
    job_folder.write("a/one", b"1")
    job_folder.write("b/two", b"2")
    job_folder.move("a/one", "b/two")
    job_folder.move("b/two", "c/three")
    job_folder.move("a/one", "d/nothing")
    assert job_folder.names("a") == job_folder.names("b") == job_folder.names("d") == []
    assert job_folder.read("c/three") == b"1"


def test_a_folder_that_has_gone_stays_gone(tmp_path: Path) -> None:
    job_folder = JobFolder(str(tmp_path / "job"))
    job_folder.prepare()
    shutil.rmtree(tmp_path / "job")
    with pytest.raises(StorageError, match="has gone"):
        job_folder.write("a", b"")
    assert not (tmp_path / "job").exists()


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("")
    with pytest.raises(StorageError, match="job"):
        JobFolder(str(tmp_path / "job")).prepare()


def test_only_old_leftovers_are_cleared(tmp_path: Path) -> None:
    job_folder = JobFolder(str(tmp_path))
    for name in ("old.part", ".old.part", ".new.part", ".old.txt"):
        (tmp_path / name).write_text("")
        if "old" in name:
            os.utime(tmp_path / name, (0, time.time() - 2 * STALE_SECONDS))
    job_folder.tidy()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".new.part", ".old.txt", "old.part"]


def test_a_place_can_be_sent(job_folder: JobFolder) -> None:
    again = pickle.loads(pickle.dumps(JobFolder(job_folder.where)))
    assert again.where == job_folder.where


def test_a_path_over_the_parent_folder_is_printed_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert JobFolder("../job").url == str(tmp_path.resolve() / "job")
