from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from acestep_flows.audio import formats, tags, write
from acestep_flows.bulk.check import check
from acestep_flows.bulk.fingerprint import fingerprint
from acestep_flows.bulk.finish import ALIKE, finish
from acestep_flows.bulk.job import BulkJob, Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Ledger
from acestep_flows.bulk.measurements import measure_song
from acestep_flows.bulk.prepare import job_of
from acestep_flows.bulk.results import ResultRow
from acestep_flows.errors import StorageError
from tests.bulk.manifests import rows_of
from tests.bulk.songs import chords


@pytest.fixture
def job(tmp_path: Path) -> BulkJob:
    rows = rows_of(tmp_path, [{"id": id, "tags": "funk"} for id in "abcd"])
    return job_of(rows, check(rows), None)


@pytest.fixture
def job_folder(tmp_path: Path) -> JobFolder:
    job_folder = JobFolder(str(tmp_path / "job"))
    job_folder.prepare()
    return job_folder


def made(job_folder: JobFolder, job: BulkJob, id: str, index: int, seed: int, **more: Any) -> ResultRow:
    """A row with a song in place."""
    audio = chords(seed)
    content = write.encode(audio, formats.FORMATS["flac"], subtype=None, tags=tags.Tags({}, title=id)).content
    path = f"audio/00000/{id}.flac"
    job_folder.write(path, content)
    return ResultRow(
        id=id, index=index, line=index + 1, status="done", inputs_json='{"tags": "funk"}', seed=seed, graph=job.graph,
        graph_digest=job.digest, recipe_digest=f"{index:064x}", audio_path=path, audio_bytes=len(content),
        audio_digest=audio.digest, duration=audio.seconds, sample_rate=audio.sample_rate,
        measurements=measure_song(audio), fingerprint=fingerprint(audio), stage_seconds={"sample": 1.0},
        finished=1e9 + index, **more,
    )  # fmt: skip


class Heard:
    """What a tracking is told."""

    def __init__(self) -> None:
        self.artifacts: dict[str, bytes] = {}
        self.sets: list[Any] = []

    def artifact(self, path: str, content: bytes) -> None:
        self.artifacts[path] = content

    def lineage(self, *sets: Any) -> None:
        self.sets += sets


@pytest.fixture
def fill(job_folder: JobFolder, job: BulkJob) -> Callable[[], None]:
    def fill() -> None:
        ledger = Ledger(job_folder)
        ledger.add(made(job_folder, job, "a", 0, 1), settled=True)
        ledger.add(made(job_folder, job, "b", 1, 2), settled=True)
        ledger.add(made(job_folder, job, "c", 2, 1), settled=True)  # sounds like a
        lost = ResultRow(id="d", index=3, line=4, status="failed", error="no luck", code="stage_failed", finished=1e9)
        ledger.add(lost, settled=True)
        ledger.close()

    return fill


def test_a_job_ends_with_a_data_set_a_report_and_what_sounds_alike(
    job_folder: JobFolder, job: BulkJob, fill: Callable[[], None]
) -> None:
    fill()
    heard: Any = Heard()
    finished = finish(job_folder, job, tracking=heard)
    assert [(one.id, one.of) for one in finished.alike] == [("c", "a")]
    assert json.loads(job_folder.read(ALIKE) or b"") == {"id": "c", "of": "a", "similarity": 1.0}
    page = (job_folder.read("report.html") or b"").decode()
    assert "no luck" in page
    assert job_folder.local is not None
    assert pq.read_table(job_folder.local / "dataset").column("id").to_pylist() == ["a", "b", "c"]
    assert set(heard.artifacts) == {"report.html", "results.parquet", *(f"samples/{id}.flac" for id in "abc")}
    assert [one.role for one in heard.sets] == ["output"]
    assert finished.reasons == {"no luck": 1}
    assert finished.rejected == finished.warned == finished.truncated == 0


def test_rows_that_missed_a_gate_have_one_reason_whatever_they_measured(job_folder: JobFolder, job: BulkJob) -> None:
    ledger = Ledger(job_folder)
    for index, error in enumerate(("tempo_bpm>0 (measured nothing)", "tempo_bpm>0 (measured -1); key==C (measured D)")):
        row = ResultRow(id="ab"[index], index=index, line=index + 1, status="rejected", error=error, code="gate")
        ledger.add(row, settled=True)
    ledger.close()
    finished = finish(job_folder, job)
    assert finished.reasons == {"tempo_bpm>0 not met": 2, "key==C not met": 1}
    assert finished.rejected == 2
    assert finished.dataset.rows == 0
    assert job_folder.local is not None
    assert not (job_folder.local / "dataset").exists(), "no song, no folder"


def test_a_row_that_0_1_0_gave_up_under_another_id_counts_once(job_folder: JobFolder, job: BulkJob) -> None:
    ledger = Ledger(job_folder)
    for id in ("a-2", "a (line 2)"):
        row = ResultRow(id=id, index=1, line=2, status="failed", error="id 'a' is on line 1 too", code="invalid_input")
        ledger.add(row, settled=True)
    ledger.close()
    assert finish(job_folder, job).reasons == {"id 'a' is on line 1 too": 1}


def test_each_part_of_a_split_job_has_files_of_its_own(
    job_folder: JobFolder, job: BulkJob, fill: Callable[[], None]
) -> None:
    fill()
    parts = [finish(job_folder, job, Shard(number, 2)) for number in (1, 2)]
    assert [part.report for part in parts] == ["report-1-of-2.html", "report-2-of-2.html"]
    assert [part.dataset.rows for part in parts] == [2, 1]  # a and c, b alone
    assert [len(part.alike) for part in parts] == [1, 0]


def test_what_sounded_alike_before_is_not_told_for_ever(job_folder: JobFolder, job: BulkJob) -> None:
    job_folder.write(ALIKE, b"of an earlier end")
    ledger = Ledger(job_folder)
    ledger.add(made(job_folder, job, "a", 0, 1), settled=True)
    ledger.close()
    finish(job_folder, job)
    assert job_folder.read(ALIKE) is None


def test_a_job_of_which_nothing_came_has_a_report_too(job_folder: JobFolder, job: BulkJob) -> None:
    finished = finish(job_folder, job)
    assert finished.dataset.rows == 0
    assert job_folder.read(finished.report)


def test_a_song_that_has_gone_is_told(job_folder: JobFolder, job: BulkJob, fill: Callable[[], None]) -> None:
    fill()
    job_folder.delete("audio/00000/a.flac")
    with pytest.raises(StorageError, match=r"a\.flac"):
        finish(job_folder, replace(job, layout="webdataset"))
