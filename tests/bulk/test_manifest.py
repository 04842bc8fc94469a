from __future__ import annotations

import csv
import gzip
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acestep_flows.bulk import manifest as manifests
from acestep_flows.bulk.manifest import ManifestRow, open_manifest
from acestep_flows.errors import InputError

ROWS: list[dict[str, Any]] = [
    {"id": "a", "tags": "funk", "seed": 1},
    {"id": "b", "tags": 'soul, "slow"\nwarm'},
    {"id": "c", "tags": "夜に駆ける", "seed": 3},
]


def records(path: Path | str) -> list[ManifestRow]:
    return list(open_manifest(str(path)).records())


def problems(path: Path | str) -> list[tuple[int, str]]:
    return [(record.line, record.problem) for record in records(path) if record.problem]


def as_jsonl(folder: Path) -> Path:
    path = folder / "m.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS))
    return path


def test_jsonl_gives_rows_with_their_lines(tmp_path: Path) -> None:
    assert records(as_jsonl(tmp_path)) == [ManifestRow(i, row) for i, row in enumerate(ROWS, 1)]


def test_csv_cells_are_text_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('id,tags,seed\na,funk,1\n\nb,"soul, ""slow""\nwarm",\nc,夜に駆ける,3\n', encoding="utf-8-sig")
    found = records(path)
    assert [record.line for record in found] == [2, 4, 6]
    assert [record.cells for record in found] == [
        {"id": "a", "tags": "funk", "seed": "1"}, ROWS[1], {"id": "c", "tags": "夜に駆ける", "seed": "3"},
    ]  # fmt: skip
    assert open_manifest(str(path)).columns() == ("id", "tags", "seed")


def test_tsv_and_packed_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("tags\tseed\ncity pop, 90s\t1\n")
    assert records(tmp_path / "m.tsv")[0].cells == {"tags": "city pop, 90s", "seed": "1"}
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(as_jsonl(tmp_path).read_bytes()))
    assert records(tmp_path / "m.jsonl.gz") == records(tmp_path / "m.jsonl")


def test_parquet_keeps_types_and_drops_nulls(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": ["a", None],
            "seed": pa.array([1, None], pa.uint32()),
            "duration": [30.0, float("nan")],
            "tags": pa.array(["funk", "soul"]).dictionary_encode(),
            "lyrics": pa.nulls(2),
            "__index_level_0__": [0, 1],
        }
    )
    pq.write_table(table, tmp_path / "m.parquet")
    manifest = open_manifest(str(tmp_path / "m.parquet"))
    assert manifest.columns() == ("id", "seed", "duration", "tags", "lyrics")
    assert list(manifest.records()) == [
        ManifestRow(1, {"id": "a", "seed": 1, "duration": 30.0, "tags": "funk"}), ManifestRow(2, {"tags": "soul"}),
    ]  # fmt: skip
    assert [record.cells for record in manifest.records(["tags"])] == [{"tags": "funk"}, {"tags": "soul"}]


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    for i in range(3):
        pq.write_table(pa.table({"tags": [f"{i}", f"{i}'"]}), tmp_path / f"part-{i}.parquet")
    (tmp_path / "README.md").write_text("not data")
    found = list(open_manifest(str(tmp_path)).records())
    assert [(record.line, record.cells["tags"]) for record in found] == list(
        enumerate(["0", "0'", "1", "1'", "2", "2'"], 1)
    )
    pq.write_table(pa.table({"prompt": ["x"]}), tmp_path / "part-3.parquet")
    with pytest.raises(InputError, match=r"part-3\.parquet has other columns"):
        open_manifest(str(tmp_path)).columns()


def test_urls_are_read_through_pyarrow(tmp_path: Path) -> None:
    assert records(as_jsonl(tmp_path).as_uri()) == records(tmp_path / "m.jsonl")


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.parquet"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    manifest = open_manifest(str(tmp_path / name))
    if name == "m.jsonl":
        assert list(manifest.records()) == []
        return
    with pytest.raises(InputError, match="m"):
        manifest.columns()
    with pytest.raises(InputError):
        list(manifest.records())


@pytest.mark.parametrize("text", ["\n", "\n\n \n", " ", "\r\n\r\n", "\n" * 1001, "\n" * 5000])
@pytest.mark.parametrize("name", ["m.csv", "m.tsv"])
def test_a_table_of_blank_lines_has_no_columns(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError):
        open_manifest(str(tmp_path / name)).columns()


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("x")
    (tmp_path / "m.parquet").write_bytes(b"PAR1 but no parquet")
    (tmp_path / "empty").mkdir()
    for url in ["", "a\0b", tmp_path / "absent.csv", tmp_path / "m.txt", tmp_path / "empty", "nowhere://x/y.csv"]:
        with pytest.raises(InputError):
            open_manifest(str(url))
    with pytest.raises(InputError, match="cannot be read"):
        open_manifest(str(tmp_path / "m.parquet")).columns()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
def test_another_unicode_encoding_is_named(tmp_path: Path, encoding: str, name: str) -> None:
    (tmp_path / name).write_text('{"tags": "funk"}\n' * 3, encoding=encoding)
    with pytest.raises(InputError, match=f"is {encoding.upper()} .allowed: UTF-8"):
        records(tmp_path / name)


def test_another_unicode_encoding_without_a_mark_makes_every_row_bad(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('{"tags": "funk"}\n' * 3, encoding="utf-16-le")
    assert len(problems(tmp_path / "m.jsonl")) >= 3


def test_mixed_encodings_are_problems_of_their_rows(tmp_path: Path) -> None:
    lines = ['{"tags": "café"}'.encode(), '{"tags": "café"}'.encode("latin-1"), b'{"tags": "ok"}']
    (tmp_path / "m.jsonl").write_bytes(b"\n".join(lines))
    assert problems(tmp_path / "m.jsonl") == [(2, "not UTF-8 (byte 14 of the line)")]
    (tmp_path / "m.csv").write_bytes(
        b"id,tags\n1," + "café".encode() + b"\n2," + "café".encode("latin-1") + b"\n3,ok\n"
    )
    assert problems(tmp_path / "m.csv") == [(3, "tags: not UTF-8")]
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"caf\xe9"]).buffers())
    pq.write_table(pa.table({"tags": pa.chunked_array([["fine"], bad, ["too"]])}), tmp_path / "m.parquet")
    assert problems(tmp_path / "m.parquet") == [(2, "not UTF-8")]


def test_the_names_of_manifests_are_told(tmp_path: Path) -> None:
    (tmp_path / "songs.json").write_text('[{"tags": "funk"}]')
    with pytest.raises(InputError, match="JSON has one object on each line, in .jsonl .*also compressed: .gz, .bz2"):
        open_manifest(str(tmp_path / "songs.json"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1, 2]", "no JSON object"),
        ('"text"', "no JSON object"),
        ("null", "no JSON object"),
        ('{"tags": "funk"', "not JSON"),
        ('{"tags": NaN}', "NaN is no JSON"),
        ('{"tags": "a", "tags": "b"}', "tags is there twice"),
        ('{"a":' * 100_000, "not JSON"),
        ('{"seed": ' + "9" * 10_000 + "}", "not JSON"),
        ("{'tags': 'funk'}", "not JSON"),
        ('{"tags": "x"} {"tags": "y"}', "not JSON"),
    ],
)
def test_bad_json_is_the_problem_of_its_line(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"tags": "one"}\n' + line + '\n\n{"tags": "three"}\n')
    found = records(path)
    assert [record.line for record in found] == [1, 2, 4]
    assert words in (found[1].problem or "")
    assert found[2].cells == {"tags": "three"}


def test_a_fault_in_json_has_one_place(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"tags": "one"}\n  {"tags": "two",}\n')
    (problem,) = [record.problem for record in records(path) if record.problem]
    assert problem is not None
    assert problem.startswith("not JSON: ")
    assert re.search(r" \(character 1[78] of the line\)$", problem)
    assert "line 1" not in problem


def test_a_line_without_end_costs_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "MAX_LINE", 100)
    path = tmp_path / "m.jsonl"
    path.write_text('{"tags": "' + "x" * 1000 + '"}\n{"tags": "next"}\n')
    found = records(path)
    assert found == [ManifestRow(1, problem="longer than 100 bytes"), ManifestRow(2, {"tags": "next"})]
    (tmp_path / "m.csv").write_text("tags\n" + "x" * 1000)
    with pytest.raises(InputError, match="line 2 is longer"):
        records(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("1,funk\n2\n3,soul\n", [(3, "1 cells where there are 2 columns")]),
        ("1,funk,extra\n3,soul\n", [(2, "3 cells where there are 2 columns")]),
        ('1,"fun"k\n2,soul\n', [(2, "not readable as csv: ',' expected after '\"'")]),
        ('1,funk\n2,"never closed', [(3, "not readable as csv: unexpected end of data")]),
        ('1,"never closed\n2,"soul"\n3,pop\n', [(2, "not readable as csv: ',' expected after '\"'")]),
    ],
)
def test_broken_csv_rows_are_problems_of_their_lines(tmp_path: Path, body: str, expected: list[Any]) -> None:
    (tmp_path / "m.csv").write_text("id,tags\n" + body)
    assert problems(tmp_path / "m.csv") == expected


def test_cells_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f'id,tags\n1,{"x" * 140_000}\n2,"{"y" * 140_000}"\n')
    limit = csv.field_size_limit()
    assert [len(record.cells["tags"]) for record in records(tmp_path / "m.csv")] == [140_000, 140_000]
    assert csv.field_size_limit() == limit  # it is that of the whole process


@pytest.mark.parametrize(
    ("head", "delimiter"),
    [("id;tags;seed", ";"), ("id\ttags\tseed", "\t"), ("id|tags|seed", "|"), ("id,tags,seed", ",")],
)
def test_other_separators_are_recognised(tmp_path: Path, head: str, delimiter: str) -> None:
    text = f"\n{head}\na{delimiter}soul, slow{delimiter}3\n".replace("soul, slow", '"soul, slow"')
    for name in ("m.csv", "m.tsv"):
        (tmp_path / name).write_text(text)
        assert open_manifest(str(tmp_path / name)).columns() == ("id", "tags", "seed")
        assert records(tmp_path / name) == [ManifestRow(3, {"id": "a", "tags": "soul, slow", "seed": "3"})]


def test_columns_that_look_divided_are_not_where_the_usual_separator_divides_them(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("id,a;b;c\n1,2\n")
    assert open_manifest(str(tmp_path / "m.csv")).columns() == ("id", "a;b;c")


@pytest.mark.parametrize("header", ["id,tags,tags", ",tags", "id,,tags"])
def test_columns_need_names_of_their_own(tmp_path: Path, header: str) -> None:
    (tmp_path / "m.csv").write_text(header + "\n1,2,3\n")
    with pytest.raises(InputError, match="column"):
        open_manifest(str(tmp_path / "m.csv")).columns()


def test_cells_of_strange_types_are_left_to_the_check(tmp_path: Path) -> None:
    table = pa.table({"tags": pa.array([b"bytes"]), "seed": [Decimal("1.5")]})
    pq.write_table(table, tmp_path / "m.parquet")
    assert records(tmp_path / "m.parquet")[0].cells == {"tags": b"bytes", "seed": Decimal("1.5")}
