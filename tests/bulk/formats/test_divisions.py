"""The folder of a data set has every row once, however a job was divided and wherever a call was killed."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.bulk import formats
from acestep_flows.bulk.formats import Dataset
from acestep_flows.bulk.identity import stem
from acestep_flows.bulk.job import Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow, table
from tests.bulk.finished import JOB

ROWS = [
    ResultRow(f"r{index}", index, index + 1, "done", audio_path=f"audio/00000/r{index}.flac", audio_bytes=6)
    for index in range(6)
]
EVERY = [row.id for row in ROWS]
WHOLE = Shard()
PARTS = [Shard(number, of) for of in (1, 2, 3) for number in range(1, of + 1)]


def write(folder: Path, part: Shard, rows: int = len(ROWS)) -> Dataset:
    """Write the data set of a part, where the first `rows` rows of the job are done."""
    folder.mkdir(exist_ok=True)
    return formats.write(JobFolder(str(folder)), JOB, table(row for row in ROWS[:rows] if part.holds(row.index)), part)


def ids(folder: Path) -> list[str]:
    """The rows that a reader of the data set finds."""
    files = (folder / "dataset").glob("*.parquet")
    return sorted(id for file in files for id in pq.read_table(file).column("id").to_pylist())


def of_part(part: Shard, rows: int = len(ROWS)) -> list[str]:
    return [row.id for row in ROWS[:rows] if part.holds(row.index)]


@pytest.fixture(params=["path", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> JobFolder:
    """A job's folder on the disk; for `memory` it is reached as folders on other file systems are."""
    place = JobFolder(str(tmp_path) if request.param == "path" else f"local://{tmp_path}")
    if request.param == "memory":
        place.__dict__["local"] = None
    return place


def test_a_part_after_the_whole_job_waits_for_the_other_parts(place: JobFolder, tmp_path: Path) -> None:
    def write(part: Shard) -> Dataset:
        return formats.write(place, JOB, table(row for row in ROWS if part.holds(row.index)), part)

    assert write(Shard(1, 2)).shown
    assert ids(tmp_path) == of_part(Shard(1, 2))
    assert write(WHOLE).shown
    assert ids(tmp_path) == EVERY
    waiting = write(Shard(2, 2))
    assert (waiting.shown, waiting.rows, waiting.fresh) == (False, 3, True)
    assert ids(tmp_path) == EVERY
    again = write(Shard(2, 2))
    assert (again.shown, again.fresh, again.files) == (False, False, waiting.files)
    assert all(place.read(path) for path in waiting.files)
    assert write(Shard(1, 2)).shown
    assert ids(tmp_path) == EVERY
    assert len(place.names("dataset")) == 2
    assert place.names(".dataset") == []


def test_parts_of_two_incomplete_divisions_are_not_mixed(tmp_path: Path) -> None:
    assert write(tmp_path, Shard(1, 2)).shown
    assert not write(tmp_path, Shard(1, 3)).shown
    assert ids(tmp_path) == of_part(Shard(1, 2))
    assert write(tmp_path, Shard(2, 2)).shown
    assert ids(tmp_path) == EVERY


@pytest.mark.parametrize("then", [Shard(2, 2), WHOLE], ids=str)
@pytest.mark.parametrize("rows", [4, 6])
def test_what_0_1_0_left_beside_each_other_is_set_right(tmp_path: Path, then: Shard, rows: int) -> None:
    write(tmp_path / "job", WHOLE)
    write(tmp_path / "part", Shard(2, 2), rows)
    for path in (tmp_path / "part" / "dataset").iterdir():
        shutil.copy(path, tmp_path / "job" / "dataset")
    assert len(ids(tmp_path / "job")) > len(EVERY)
    assert write(tmp_path / "job", then).shown is (then == WHOLE)
    assert ids(tmp_path / "job") == EVERY


def test_tar_files_wait_as_well(tmp_path: Path) -> None:
    place = JobFolder(str(tmp_path))
    job = dataclasses.replace(JOB, layout="webdataset")
    for row in ROWS:
        place.write(row.audio_path or "", b"a song")
    for part in (Shard(1, 2), WHOLE, Shard(2, 2)):
        formats.write(place, job, table(row for row in ROWS if part.holds(row.index)), part)
    found: list[str] = []
    for path in (tmp_path / "dataset").glob("*.tar"):
        with tarfile.open(path) as archive:
            found += [name.partition(".")[0] for name in archive.getnames() if name.endswith(".json")]
    assert sorted(found) == sorted(map(stem, EVERY))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PARTS), st.integers(0, 1)), min_size=1, max_size=10))
def test_no_row_is_there_twice_however_the_job_is_divided(calls: Sequence[tuple[Shard, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), 3
        written: dict[int, dict[int, int]] = {}
        for part, more in calls:
            before, rows = ids(folder), min(len(ROWS), rows + more)
            dataset = write(folder, part, rows)
            written.setdefault(part.of, {})[part.number] = rows
            if len(written[part.of]) == part.of:
                written = {part.of: written[part.of]}
                parts = [of_part(Shard(number, part.of), then) for number, then in written[part.of].items()]
                assert dataset.shown
                assert ids(folder) == sorted(id for one in parts for id in one)
            elif dataset.shown:
                assert set(ids(folder)) >= set(of_part(part, rows))
            else:
                assert ids(folder) == before
            assert len(ids(folder)) == len(set(ids(folder)))


class Killed(Exception):
    """The end of a process, as far as files are concerned."""


def killed_after(operations: int, call: Callable[[], object]) -> None:
    """Call, and stop at the next operation on a file after so many."""
    left = operations

    def mortal(operate: Callable[..., Any]) -> Callable[..., Any]:
        def operate_or_die(*args: Any) -> Any:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return operate(*args)

        return operate_or_die

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        for name in ("write", "move", "delete"):
            patch.setattr(JobFolder, name, mortal(getattr(JobFolder, name)))
        call()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6), st.sampled_from(PARTS), st.integers(0, 12))
def test_a_kill_at_any_file_leaves_no_row_twice(before: Sequence[Shard], last: Shard, operations: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in before:
            write(folder, part, 5)
        killed_after(operations, lambda: write(folder, last))
        assert len(ids(folder)) == len(set(ids(folder)))
        write(folder, last)
        assert len(ids(folder)) == len(set(ids(folder)))
        if last == WHOLE:
            assert ids(folder) == EVERY
