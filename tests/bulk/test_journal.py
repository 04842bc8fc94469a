"""Songs that are noted at once; the driver's side is in test_driver.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.journal import SongJournal
from acestep_flows.bulk.results import ResultRow
from tests.bulk.finished import done_row


@pytest.fixture
def job_folder(tmp_path: Path) -> JobFolder:
    job_folder = JobFolder(str(tmp_path / "out"))
    job_folder.prepare()
    return job_folder


def stored(job_folder: JobFolder, index: int, **changes: Any) -> ResultRow:
    row = dataclasses.replace(done_row(index), audio_bytes=4, **changes)
    job_folder.write(row.audio_path or "", b"fLaC")
    return row


def test_a_row_comes_back_as_it_was(job_folder: JobFolder) -> None:
    row = stored(job_folder, 1, measurements={"seconds": np.float32(1.5), "clipped_samples": np.int64(2)})
    SongJournal(job_folder, Shard()).note(row)
    (found,) = SongJournal(job_folder, Shard()).rows()
    assert found == dataclasses.replace(row, measurements={"seconds": 1.5, "clipped_samples": 2})


def test_notes_go_on_after_another_process_has_cleared_them(job_folder: JobFolder) -> None:
    """The driver clears what it has committed; a process that lives on has the old file open."""
    process, driver = SongJournal(job_folder, Shard()), SongJournal(job_folder, Shard())
    process.note(stored(job_folder, 1))
    driver.clear()
    process.note(stored(job_folder, 2))
    assert [row.index for row in driver.rows()] == [2]


def test_parts_that_work_beside_each_other_leave_each_others_notes(job_folder: JobFolder) -> None:
    first, second, whole = Shard(1, 2), Shard(2, 2), Shard()
    for index in range(4):
        SongJournal(job_folder, first if index % 2 == 0 else second).note(stored(job_folder, index))
    assert [row.index for row in SongJournal(job_folder, first).rows()] == [0, 2]
    SongJournal(job_folder, first).clear()
    assert [row.index for row in SongJournal(job_folder, whole).rows()] == [1, 3]
    SongJournal(job_folder, whole).clear()
    assert list(SongJournal(job_folder, second).rows()) == []


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "null", '{"id": "x"}', '{"id": 1, "index": "0", "line": 1}', "\x00" * 50]
)
def test_damaged_lines_are_passed_over(job_folder: JobFolder, line: str) -> None:
    SongJournal(job_folder, Shard()).note(stored(job_folder, 1))
    assert job_folder.local is not None
    (path,) = (job_folder.local / "results").glob(".done-*")
    path.write_text(f"{line}\n{path.read_text()}{line}")
    assert [row.index for row in SongJournal(job_folder, Shard()).rows()] == [1]


def test_a_journal_that_cannot_be_written_costs_no_song(job_folder: JobFolder) -> None:
    row = stored(job_folder, 1)
    job_folder.write("results", b"a file in the way")
    SongJournal(job_folder, Shard()).note(row)
    assert list(SongJournal(job_folder, Shard()).rows()) == []
    far = SongJournal(JobFolder("mock://bucket/out"), Shard())
    far.note(row)
    far.clear()
    assert list(far.rows()) == []
