from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acestep_flows.bulk.check import check
from acestep_flows.bulk.gates import Gate
from acestep_flows.bulk.job import FILE, BulkJob, Sweep
from acestep_flows.bulk.prepare import job_of
from acestep_flows.bulk.resume import DIGESTS, begin, is_begun
from acestep_flows.bulk.rows import JobRows
from acestep_flows.errors import Conflict, InputError
from tests.bulk.manifests import rows_of


class Memory(dict[str, bytes]):
    """Files in memory, in the order they were written."""

    def read(self, path: str) -> bytes | None:
        return self.get(path)

    def write(self, path: str, content: bytes) -> None:
        self[path] = content


ROWS = [{"id": "a", "tags": "funk"}, {"id": "b", "tags": "soul"}]


def job(rows: JobRows, **options: Any) -> BulkJob:
    return job_of(rows, check(rows), None, **options)


def test_a_job_begins_once_and_goes_on(tmp_path: Path) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    assert begin(files, job(rows), check(rows)) is False
    assert list(files) == [DIGESTS, FILE]
    assert begin(files, job(rows_of(tmp_path, ROWS)), check(rows)) is True


def test_asking_whether_a_job_is_begun_writes_nothing(tmp_path: Path) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    assert is_begun(files, job(rows), check(rows)) is False
    assert files == {}
    begin(files, job(rows), check(rows))
    before = dict(files)
    later = replace(job(rows), stages={"sample": 99})
    assert is_begun(files, job(rows), check(rows)) is True
    assert is_begun(files, later, check(rows), upgrade=True) is True
    assert files == before


def test_a_manifest_that_moved_is_the_same(tmp_path: Path) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    begin(files, job(rows), check(rows))
    (tmp_path / "elsewhere").mkdir()
    moved = rows_of(tmp_path / "elsewhere", ROWS)
    assert begin(files, job(moved), check(moved)) is True


def refused(files: Memory, rows: JobRows, job: BulkJob) -> str:
    before = dict(files)
    with pytest.raises(Conflict) as caught:
        begin(files, job, check(rows))
    with pytest.raises(Conflict) as foreseen:
        is_begun(files, job, check(rows))
    assert str(foreseen.value) == str(caught.value)
    assert dict(files) == before
    return str(caught.value)


def test_a_changed_manifest_is_refused_with_the_difference(tmp_path: Path) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    begin(files, job(rows), check(rows))
    changed = rows_of(tmp_path, [ROWS[0], {"id": "b", "tags": "other", "seed": 3}, {"tags": "new"}])
    told = refused(files, changed, job(changed))
    assert "manifest: 2 rows before, 3 now" in told
    assert "manifest: new or changed: rows 2, 3" in told
    assert "columns only on one side: seed" in told


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": {"transformer": "22"}}, 'weights: transformer was "11", is "22"'),
        ({"stages": {"sample": 99}}, "stage versions: sample was"),
        ({"digest": "x", "content": {"graph": {"nodes": {"take": 1}}}}, "graph: graph.nodes.take was"),
        ({"constants": {"steps": 3}}, "--set: steps was nothing, is 3"),
        ({"sweeps": (Sweep("seed", (1, 2)),)}, "--sweep: was []"),
        ({"gates": (Gate("silence_share", "<", 0.5),)}, "--require: was [], is silence_share<0.5"),
        ({"seed": 4}, "--job-seed: was 0, is 4"),
        ({"audio": "mp3"}, '--audio: was "flac", is "mp3"'),
        ({"layout": "webdataset"}, "--format"),
        ({"on_bad_row": "skip"}, "--on-bad-row"),
    ],
)
def test_anything_else_that_changed_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    whole = replace(job(rows), weights={"transformer": "11"})
    begin(files, whole, check(rows))
    assert words in refused(files, rows, replace(whole, **change))


@pytest.mark.parametrize(
    "change", [{"stages": {"sample": 99}}, {"digest": "x", "content": {"graph": {"nodes": {"take": 1}}}}]
)
def test_a_job_of_an_earlier_version_goes_on_where_that_is_accepted(tmp_path: Path, change: dict[str, Any]) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    begin(files, job(rows), check(rows))
    now = replace(job(rows), **change)
    assert "--accept-upgrade goes on" in refused(files, rows, now)
    assert begin(files, now, check(rows), upgrade=True) is True
    assert begin(files, now, check(rows)) is True  # from now on it is a job of this version
    other = replace(now, seed=4)
    with pytest.raises(Conflict, match="--job-seed: was 0, is 4"):
        begin(files, other, check(rows), upgrade=True)


def test_a_long_difference_is_cut(tmp_path: Path) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    whole = job(rows)
    begin(files, whole, check(rows))
    told = refused(files, rows, replace(whole, weights={f"part{i}": "x" for i in range(50)}))
    assert "and 30 more differences" in told


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema": 1}', b"\xff"])
def test_a_damaged_job_file_is_told(tmp_path: Path, content: bytes) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    files[FILE] = content
    with pytest.raises(InputError, match=r"job\.json"):
        begin(files, job(rows), check(rows))


def test_a_job_killed_while_it_began_begins_again(tmp_path: Path) -> None:
    files, rows = Memory(), rows_of(tmp_path, ROWS)
    files[DIGESTS] = b"of another manifest"
    assert begin(files, job(rows), check(rows)) is False
    assert files[DIGESTS] == check(rows).digests
