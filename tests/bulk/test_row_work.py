"""The end of a row: measured, judged, put in place, and whatever goes wrong told in its result."""

from __future__ import annotations

import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.audio import formats, read, tags, write
from acestep_flows.bulk.gates import Gate
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow
from acestep_flows.bulk.row_work import JobWork
from acestep_flows.bulk.seeds import following
from acestep_flows.errors import InputError, StageError, StorageError
from acestep_flows.graph.execution.cache_key import CacheKey
from acestep_flows.graph.execution.result import NodeResult
from acestep_flows.runtime.bulk.segment_actor import PlanOutcome
from acestep_flows.values import Audio, File
from tests.audio.files import DOOR_CASES
from tests.bulk.jobs import rows_in

TONE = Audio(np.sin(np.arange(48_000) / 20)[None].repeat(2, 0).astype(np.float32) * 0.5, 48_000)
QUIET = Audio(np.zeros((2, 48_000), np.float32), 48_000)
ROW = {"id": "a/../b.c", "tags": "funk", "seed": 3}


def ended(work: JobWork, rows: Any, output: Any = TONE, error: Any = None) -> ResultRow:
    """The result of the first row, had its song come to `output`."""
    one, plan = work.plan_attempt(next(iter(rows)))
    made = CacheKey("vocode", 1, (), "", {}, "")
    nodes = (
        NodeResult("song", "vocode", made, seconds=1.5),
        NodeResult("again", "vocode", made, seconds=0.5),
        NodeResult("words", "encode_lyrics", made, source="memory", seconds=7.0),
        NodeResult("untaken", "mix"),
    )
    return work.finish(one, PlanOutcome(replace(plan, outputs={"audio": output}, nodes={}), nodes, error))


@pytest.mark.parametrize("name", DOOR_CASES)
def test_files_as_people_have_them(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    case = DOOR_CASES[name]
    (tmp_path / "song.audio").write_bytes(case.content)
    row = {"reference": str(tmp_path / "song.audio"), "tags": "pop", "seed": 1}
    work, rows = rows_in(tmp_path, [row], graph="audio2audio")
    attempt, _ = work.plan_attempt(next(iter(rows)))
    if case.refusal:
        with pytest.raises(InputError, match=case.refusal):
            work.plan(attempt)
        return
    for _ in range(2):
        work.plan(attempt)
    told = [record.getMessage() for record in caplog.records if "input" in record.getMessage()]
    assert len(told) == bool(case.note)
    assert all(re.search(f"input reference: {case.note}", message) for message in told)


def test_a_song_is_measured_and_put_in_place(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [ROW])
    row = ended(pickle.loads(pickle.dumps(work)), rows)
    assert row.status == "done", row.error
    assert row.audio_path is not None
    path = tmp_path / "out" / row.audio_path
    assert path.resolve().is_relative_to(tmp_path / "out" / "audio")
    assert path.stat().st_size == row.audio_bytes
    assert (row.audio_digest, row.duration, row.sample_rate, row.seed) == (TONE.digest, 1.0, 48_000, 3)
    assert row.stage_seconds == {"vocode": 2.0, "encode_lyrics": 0.0}
    assert row.measurements is not None
    assert row.measurements["silence_share"] == 0.0
    assert row.fingerprint is not None
    assert row.versions["acestep_flows"]
    told = tags.read(path)
    assert told.title == "a/../b.c"
    assert told.recipe["inputs"]["tags"] == "funk"
    assert read.audio(path).seconds == 1.0


@pytest.mark.parametrize(("more", "asked"), [({"duration": 12.5}, 12.5), ({}, 30.0)])
def test_the_length_that_was_asked_stands_beside_that_which_was_made(
    tmp_path: Path, more: dict[str, float], asked: float
) -> None:
    row = ended(*rows_in(tmp_path, [ROW | more]))
    assert (row.duration_asked, row.duration) == (asked, 1.0)


def test_a_song_that_misses_a_gate_is_not_kept(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [ROW], gates=(Gate("silence_share", "<", 0.5),))
    row = ended(work, rows, QUIET)
    assert (row.status, row.code, row.audio_path) == ("rejected", "gate", None)
    assert "silence_share" in str(row.error)
    assert row.measurements is not None
    assert not (tmp_path / "out" / "audio").exists()
    assert ended(work, rows).status == "done"


def test_what_was_changed_to_fit_the_file_is_told(tmp_path: Path) -> None:
    loud = Audio(TONE.samples * 3, TONE.sample_rate)
    row = ended(*rows_in(tmp_path, [ROW]), loud)
    assert row.status == "done"
    assert row.warnings is not None
    assert "3.5 dB over full scale" in row.warnings
    assert ended(*rows_in(tmp_path / "quiet", [ROW])).warnings is None


def test_a_file_is_kept_as_it_is(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [ROW])
    content = write.encode(TONE, formats.FORMATS["flac"], subtype=None, tags=None).content
    row = ended(work, rows, File(np.frombuffer(content, np.uint8), "flac"))
    assert row.audio_path is not None
    assert work.job_folder.read(row.audio_path) == content


@pytest.mark.parametrize("output", [None, 3.0])
def test_no_song_is_an_error_of_the_row(tmp_path: Path, output: Any) -> None:
    work, rows = rows_in(tmp_path, [ROW])
    assert ended(work, rows, output).code == "invalid_input"


def test_errors_on_the_way_are_told(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [ROW])
    row = ended(work, rows, error=StageError("take", "sample", ZeroDivisionError("by zero")))
    assert (row.status, row.code) == ("failed", "stage_failed")
    assert "by zero" in str(row.error)


def test_a_folder_that_vanishes_is_told_as_such(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [ROW])
    shutil.rmtree(tmp_path / "out")
    row = ended(work, rows)
    assert (row.status, row.code) == ("failed", StorageError.code)
    assert "has gone" in str(row.error)
    assert not (tmp_path / "out").exists()


def test_a_place_that_takes_no_files_is_told_as_such(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [ROW])
    (tmp_path / "out" / "audio").write_text("in the way")
    assert ended(work, rows).code == StorageError.code


def test_a_retake_has_another_seed_and_the_same_words(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [ROW])
    (row,) = rows
    (first, _), (second, plan) = work.plan_attempt(row), work.plan_attempt(row, 2, 1)
    assert first.inputs == {**second.inputs, "seed": 3}
    assert second.inputs["seed"] == following(3, 1)
    assert work.plan(second).nodes == plan.nodes
    assert set(plan.outputs) == {"audio"}


def test_a_process_that_is_killed_when_a_file_has_its_name_has_noted_the_song(tmp_path: Path) -> None:
    class Killed(JobFolder):
        def write(self, path: str, content: bytes) -> None:
            super().write(path, content)
            raise SystemExit

    work, rows = rows_in(tmp_path, [ROW])
    killed = JobWork(work.job, Killed(work.job_folder.where))
    with pytest.raises(SystemExit):
        ended(killed, rows)
    (noted,) = work.journal.rows()
    assert (noted.id, noted.status, noted.audio_digest) == (ROW["id"], "done", TONE.digest)


def test_a_song_that_cannot_be_written_is_not_noted_as_done(tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, [ROW])
    work.job_folder.write("audio", b"a file in the way")
    assert ended(work, rows).code == StorageError.code
    assert list(work.journal.rows()) == []
