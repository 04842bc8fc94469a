"""Manifests that are small and unfold to gigabytes: what is in memory is bounded."""

from __future__ import annotations

import random
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acestep_flows.bulk import parquet_rows
from acestep_flows.bulk.check import check
from acestep_flows.bulk.manifest import open_manifest
from acestep_flows.bulk.rows import JobRows
from acestep_flows.errors import InputError
from tests.bulk.manifests import scope

READ = """
import resource, sys
import pyarrow.parquet
from acestep_flows.bulk.check import check
from acestep_flows.bulk.manifest import open_manifest
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in open_manifest(sys.argv[1]).records())
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def growth(path: Path) -> tuple[int, int]:
    """Rows of a manifest, and the megabytes that reading them takes."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    rows, megabytes = map(int, done.stdout.split())
    return rows, megabytes


def test_one_text_a_thousand_times_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    tags = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"tags": tags}), path, compression="zstd", dictionary_pagesize_limit=10**8,
                   store_schema=False)  # fmt: skip
    assert path.stat().st_size < 5000
    rows, megabytes = growth(path)
    assert rows == 1000
    assert megabytes < 250


def test_large_texts_are_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    draw = random.Random(1)
    tags = [draw.randbytes(200_000).hex() for _ in range(600)]
    pq.write_table(pa.table({"tags": tags}), path, use_dictionary=False)
    rows, megabytes = growth(path)
    assert rows == 600
    assert megabytes < 150  # of 240


def test_a_row_that_is_too_long_is_bad_and_the_others_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acestep_flows.bulk.manifest.MAX_LINE", 1000)
    pq.write_table(pa.table({"tags": ["a", "x" * 600, "b"], "lyrics": ["", "y" * 600, None]}), tmp_path / "m.parquet")
    found = list(open_manifest(str(tmp_path / "m.parquet")).records())
    assert [record.problem for record in found] == [None, "longer than 1000 bytes", None]
    assert [record.line for record in found] == [1, 2, 3]


def test_rows_become_values_a_few_at_a_time_and_stay_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "BYTES", 50)
    monkeypatch.setattr(parquet_rows, "BATCH", 7)
    tags = [f"{i} " + "x" * (i % 40) for i in range(100)]
    pq.write_table(pa.table({"tags": tags, "seed": range(100)}), tmp_path / "m.parquet", row_group_size=30)
    found = list(open_manifest(str(tmp_path / "m.parquet")).records())
    assert [(record.cells["tags"], record.cells["seed"]) for record in found] == list(
        zip(tags, range(100), strict=True)
    )


def test_zeros_that_are_packed_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "LARGE_COLUMN", 1_000_000)
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"tags": ["x" * 20_000_000]}), path, compression="zstd")
    with pytest.raises(InputError, match=r"m\.parquet: column tags unfolds from \d+ bytes to 200"):
        list(open_manifest(str(path)).records())
    assert list(open_manifest(str(path)).records(["lyrics"]))  # what is not read does not matter


def test_lists_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "MOST_VALUES", 1000)
    pq.write_table(pa.table({"seeds": [[0] * 5000]}), tmp_path / "m.parquet")
    with pytest.raises(InputError, match="5000 values in one row group"):
        list(open_manifest(str(tmp_path / "m.parquet")).records())


def test_a_footer_that_makes_pyarrow_end_its_process_is_refused(tmp_path: Path) -> None:
    """The schema says that elements may not be null, the statistics count those that are."""
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"tags": ["funk"], "seeds": [[1, 2]]}), path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"\x25\x02\x18\x07element", b"\x25\x42\x18\x07element"))
    assert path.read_bytes() != whole
    with pytest.raises(InputError, match=r"m\.parquet: cannot be read: damaged: its footer"):
        list(open_manifest(str(path)).records())


def test_decimals_are_numbers(tmp_path: Path) -> None:
    """As databases write whole numbers and prices."""
    whole, money = pa.decimal128(20, 0), pa.decimal128(10, 3)
    table = pa.table(
        {
            "id": pa.array([Decimal(17), Decimal(18)], whole),
            "tags": ["funk", "soul"],
            "seed": pa.array([Decimal(4), None], whole),
            "duration": pa.array([Decimal("2.500"), Decimal("3.000")], money),
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    first, second = JobRows(open_manifest(str(tmp_path / "m.parquet")), scope())
    assert (first.problem, second.problem) == (None, None)
    assert (first.id, first.inputs) == ("17", {"tags": "funk", "seed": 4, "duration": 2.5})
    assert (second.id, second.inputs["duration"]) == ("18", 3.0)


@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path: Path, compression: str) -> None:
    path, draw = tmp_path / "m.parquet", random.Random(compression)
    table = pa.table({"id": [f"r{i}" for i in range(30)], "tags": ["funk"] * 30, "seed": range(30)})
    pq.write_table(table, path, compression=compression)
    whole = path.read_bytes()
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 2, 10])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            check(JobRows(open_manifest(str(path)), scope(), strict=False))
        except InputError:
            refused += 1
    assert 0 < refused < 150


def test_a_column_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"tags": ["funk"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"tags", b"t\xe4gs"))
    with pytest.raises(InputError, match=r"m\.parquet: cannot be read"):
        JobRows(open_manifest(str(path)), scope())
