"""The tables of a job: nothing committed is lost, nothing counts twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import ATTEMPTS, COMMIT_ROWS, DEAD, GATHER_FILES, RESULTS, Ledger, Tried, short
from acestep_flows.bulk.results import LATER_COLUMNS, SCHEMA, ResultRow

DIGEST = "ab" * 32


def row(id: str, status: Any = "done", **more: Any) -> ResultRow:
    return ResultRow(id=id, index=0, line=1, status=status, recipe_digest=DIGEST, **more)


@pytest.fixture
def job_folder(tmp_path: Path) -> JobFolder:
    return JobFolder(str(tmp_path))


def test_what_is_committed_is_settled(job_folder: JobFolder) -> None:
    ledger = Ledger(job_folder)
    ledger.add(row("a"), settled=True)
    ledger.add(row("b", "failed", error="no"), settled=True)
    ledger.add(row("c", "failed"), settled=False)
    ledger.add(row("d", "rejected", retake=1, attempt=2), settled=False)
    assert Ledger(job_folder).standing().settled == {}
    ledger.commit()
    standing = Ledger(job_folder).standing()
    assert standing.settled == {"a": "done", "b": "failed"}
    assert standing.tried == {"c": Tried(1, 0, 1), "d": Tried(2, 2, 0)}
    assert standing.recipes == {short(DIGEST): "a"}


def test_rows_given_up_can_be_asked_for_again(job_folder: JobFolder) -> None:
    ledger = Ledger(job_folder)
    ledger.add(row("b", "failed", attempt=3), settled=True)
    ledger.commit()
    standing = Ledger(job_folder).standing(again=True)
    assert standing.settled == {}
    assert standing.tried == {"b": Tried(3)}


def test_rows_done_since_leave_the_dead_letters(job_folder: JobFolder) -> None:
    ledger = Ledger(job_folder)
    ledger.add(row("b", "failed"), settled=True)
    ledger.add(row("c", "failed"), settled=True)
    ledger.commit()
    ledger.add(row("b", attempt=2), settled=True)
    ledger.close()
    assert [dead.id for dead in ledger.rows(DEAD)] == ["c"]
    assert Ledger(job_folder).standing().settled == {"b": "done", "c": "failed"}


def test_small_files_are_gathered_and_the_folder_is_a_data_set(job_folder: JobFolder, tmp_path: Path) -> None:
    ledger = Ledger(job_folder)
    for number in range(GATHER_FILES + 3):
        ledger.add(row(f"r{number:03}"), settled=True)
        ledger.commit()
    assert len(job_folder.names(RESULTS)) == 4
    ledger.close()
    assert len(job_folder.names(RESULTS)) == 1
    found = ds.dataset(tmp_path / RESULTS, format="parquet").to_table()
    assert found.schema == SCHEMA
    assert sorted(found.column("id").to_pylist()) == [f"r{number:03}" for number in range(GATHER_FILES + 3)]


def test_rows_in_two_files_count_once(job_folder: JobFolder) -> None:
    for number in (1, 2):  # as when gathering was cut short, or a row was made twice
        ledger = Ledger(job_folder)
        ledger.add(row("a", attempt=number), settled=True)
        ledger.commit()
    assert [found.attempt for found in ledger.rows()] == [1]
    ledger.close()
    assert len(job_folder.names(RESULTS)) == 1
    assert [found.attempt for found in ledger.rows()] == [1]


def test_every_attempt_stays(job_folder: JobFolder) -> None:
    ledger = Ledger(job_folder)
    for number in (1, 2):
        ledger.add(row("a", "failed", attempt=number), settled=False)
        ledger.commit()
    ledger.close()
    assert [found.attempt for found in ledger.rows(ATTEMPTS)] == [1, 2]


def test_shards_do_not_gather_each_others_files(job_folder: JobFolder) -> None:
    one, other = Ledger(job_folder, "1-of-2"), Ledger(job_folder, "2-of-2")
    for number in range(4):
        for ledger in (one, other):
            ledger.add(row(f"{number}"), settled=True)
            ledger.commit()
    one.close()
    assert sum("2-of-2" in name for name in job_folder.names(RESULTS)) == 4
    assert sum("1-of-2" in name for name in job_folder.names(RESULTS)) == 1


def test_a_damaged_table_is_passed_over(job_folder: JobFolder) -> None:
    ledger = Ledger(job_folder)
    ledger.add(row("a"), settled=True)
    ledger.commit()
    job_folder.write(f"{RESULTS}/part-1-of-1-0-x.parquet", b"PAR1 and no more")
    assert Ledger(job_folder).standing().settled == {"a": "done"}


def test_commits_are_due_by_rows(job_folder: JobFolder) -> None:
    ledger = Ledger(job_folder)
    due = [ledger.due]
    for number in range(COMMIT_ROWS):
        ledger.add(row(f"{number}"), settled=True)
    due.append(ledger.due)
    ledger.commit()
    assert [*due, ledger.due] == [False, True, False]


def test_tables_of_0_1_0_have_no_length_asked_for(job_folder: JobFolder, tmp_path: Path) -> None:
    ledger = Ledger(job_folder)
    ledger.add(row("old", duration=9.9, duration_asked=10.0), settled=True)
    ledger.commit()
    (path,) = (tmp_path / RESULTS).glob("*.parquet")
    pq.write_table(pq.read_table(path).drop_columns(list(LATER_COLUMNS)), path)
    again = Ledger(job_folder)
    again.add(row("new", duration=9.9, duration_asked=10.0), settled=True)
    again.close()
    assert {found.id: found.duration_asked for found in Ledger(job_folder).rows()} == {"old": None, "new": 10.0}
