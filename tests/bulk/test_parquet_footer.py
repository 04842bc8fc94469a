"""Footers are read in one child, which is used again, is replaced when one has ended it, and goes when nobody asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acestep_flows.bulk import parquet_footer
from acestep_flows.bulk.parquet_footer import ColumnChunk, column_chunks
from tests.waiting import eventually

QUICK = "import acestep_flows.bulk.parquet_footer as it; it.IDLE_SECONDS = 0.2; answer_requests("
"""Begins the child's work with less patience."""


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[parquet_footer._FooterReader]:
    """One without a child."""
    reader = parquet_footer._FooterReader()
    monkeypatch.setattr(parquet_footer, "_reader", reader)
    yield reader
    reader.end()


def table(folder: Path, rows: int) -> Path:
    path = folder / f"{rows}.parquet"
    pq.write_table(pa.table({"tags": ["funk"] * rows, "seeds": [[1, 2]] * rows}), path)
    return path


def damaged(path: Path) -> Path:
    """A footer whose statistics count elements that are null, where the schema says that none may be."""
    whole = path.read_bytes()
    other = path.with_name("damaged.parquet")
    other.write_bytes(whole.replace(b"\x25\x02\x18\x07element", b"\x25\x42\x18\x07element"))
    assert other.read_bytes() != whole
    return other


def chunks(path: Path) -> list[ColumnChunk]:
    with pa.OSFile(str(path)) as file:
        return column_chunks(file)


def child(reader: parquet_footer._FooterReader) -> psutil.Process:
    assert reader._child is not None
    return psutil.Process(reader._child._process.pid)


def test_one_child_reads_many_footers(reader: parquet_footer._FooterReader, tmp_path: Path) -> None:
    found = chunks(table(tmp_path, 1))
    assert [(chunk.column, chunk.rows, chunk.values) for chunk in found] == [("tags", 1, 1), ("seeds", 1, 2)]
    first = child(reader)
    assert [chunk.rows for chunk in chunks(table(tmp_path, 7))] == [7, 7]
    assert child(reader) == first


def test_a_footer_that_ends_the_child_is_refused_and_the_next_is_read(
    reader: parquet_footer._FooterReader, tmp_path: Path
) -> None:
    whole = table(tmp_path, 3)
    for _ in range(2):
        assert chunks(whole)[0].rows == 3
        with pytest.raises(OSError, match="damaged: its footer says what cannot be"):
            chunks(damaged(whole))


def test_a_child_that_others_killed_is_replaced(reader: parquet_footer._FooterReader, tmp_path: Path) -> None:
    whole = table(tmp_path, 3)
    before = chunks(whole)
    killed = child(reader)
    killed.kill()
    assert chunks(whole) == before
    assert child(reader) != killed


def test_a_child_that_does_not_answer_is_given_up(
    reader: parquet_footer._FooterReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = table(tmp_path, 3)
    chunks(whole)
    asleep = child(reader)
    asleep.suspend()
    monkeypatch.setattr(parquet_footer, "SECONDS", 0.1)
    with pytest.raises(OSError, match="was not read in"):
        chunks(whole)
    assert not asleep.is_running()


def test_a_child_that_nobody_asks_ends_by_itself(
    reader: parquet_footer._FooterReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_footer, "CHILD", parquet_footer.CHILD.replace("answer_requests(", QUICK))
    whole = table(tmp_path, 3)
    before = chunks(whole)
    idle = child(reader)
    eventually(lambda: idle.status() == psutil.STATUS_ZOMBIE)
    assert chunks(whole) == before
