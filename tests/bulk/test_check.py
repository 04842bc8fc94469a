from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from acestep_flows.bulk import check as checks
from acestep_flows.bulk.check import Bad, Checked, check, difference
from acestep_flows.bulk.manifest import open_manifest
from acestep_flows.bulk.rows import JobRows
from acestep_flows.errors import InputError
from tests.bulk.manifests import jsonl, rows_of, scope

ROWS = [{"id": f"{i}", "tags": f"style {i}"} for i in range(6)]


def test_a_check_counts_and_lists_bad_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SHOWN", 2)
    found = check(rows_of(tmp_path, [{"tags": 1}, *ROWS, {"tags": 2}, "oops"]))
    assert (found.source.rows, found.bad_rows) == (9, 3)
    assert found.bad == (Bad(1, "tags: 1 (allowed: text)"), Bad(8, "tags: 2 (allowed: text)"))
    assert str(found.bad[0]) == "line 1: tags: 1 (allowed: text)"
    assert found.source.columns == ("tags",)
    assert len(found.digests) == 9 * 8


def test_rows_with_one_reason_are_told_once(tmp_path: Path) -> None:
    found = check(rows_of(tmp_path, [{"tags": "a", "mood": i} for i in range(3000)]))
    (bad,) = found.bad
    assert (found.bad_rows, bad.rows) == (3000, 3000)
    assert str(bad).startswith("lines 1-3000: no input 'mood'")
    assert str(bad).endswith("; --ignore mood leaves it out")
    assert check(rows_of(tmp_path, [{"tags": "a", "mood": 1}], ignored=("mood",))).bad == ()


def test_scattered_rows_with_one_reason_are_named_up_to_ten_places(tmp_path: Path) -> None:
    rows = [{"tags": 1 if i in (0, 3, 4, 5) else "ok"} for i in range(8)]
    assert str(check(rows_of(tmp_path, rows)).bad[0]) == "lines 1, 4-6: tags: 1 (allowed: text)"
    many = [{"tags": "ok" if i % 2 else 1} for i in range(30)]
    told = str(check(rows_of(tmp_path, many)).bad[0])
    assert told == "lines 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 5 more: tags: 1 (allowed: text)"


def test_further_reasons_are_counted_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SHOWN", 1)
    found = check(rows_of(tmp_path, [{"tags": 1}, {"tags": 2}, {"tags": 1}, {"tags": 3}]))
    assert [str(bad) for bad in found.bad] == ["lines 1, 3: tags: 1 (allowed: text)"]
    assert (found.bad_rows, sum(bad.rows for bad in found.bad)) == (4, 2)


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
def test_a_manifest_without_rows_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("" if name == "m.jsonl" else "id,tags\n")
    with pytest.raises(InputError, match="has no rows"):
        check(JobRows(open_manifest(str(tmp_path / name)), scope()))


def told(before: Checked, now: Checked) -> list[str]:
    return list(difference(before.digests, now))


def test_differences_name_what_changed(tmp_path: Path) -> None:
    before = check(rows_of(tmp_path, ROWS))
    assert told(before, check(rows_of(tmp_path, ROWS))) == []
    changed = [*ROWS[:2], {"id": "2", "tags": "other"}, *ROWS[3:]]
    assert told(before, check(rows_of(tmp_path, changed))) == [
        "new or changed: row 3", "gone or changed: row 3 of the old manifest",
    ]  # fmt: skip
    assert told(before, check(rows_of(tmp_path, [*ROWS, {"tags": "x"}]))) == [
        "6 rows before, 7 now", "new or changed: row 7",
    ]  # fmt: skip
    assert told(before, check(rows_of(tmp_path, ROWS[1:]))) == [
        "6 rows before, 5 now",
        "gone or changed: row 1 of the old manifest",
    ]
    swapped = [*ROWS[:4], ROWS[5], ROWS[4]]
    assert told(before, check(rows_of(tmp_path, swapped))) == ["the same rows in another order, from row 5 on"]
    other = [{"tags": f"{i}"} for i in range(12)]
    assert told(before, check(rows_of(tmp_path, other)))[1].endswith("10 and 2 more")


def test_rows_are_counted_alike_before_and_now_and_lines_are_told_where_they_differ(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,tags\na,folk\nb,soul\nc,pop\n")
    before = check(JobRows(open_manifest(str(path)), scope()))
    path.write_text("id,tags\na,folk\nb,jazz\nc,pop\nd,funk\n")
    assert told(before, check(JobRows(open_manifest(str(path)), scope()))) == [
        "3 rows before, 4 now",
        "new or changed: rows 2, 4 (lines 3, 5)",
        "gone or changed: row 2 of the old manifest",
    ]
    path.write_text("id,tags\na,folk\nc,pop\nb,soul\n")
    assert told(before, check(JobRows(open_manifest(str(path)), scope()))) == [
        "the same rows in another order, from row 2 (line 3) on"
    ]


def test_only_the_content_of_rows_counts(tmp_path: Path) -> None:
    before = check(rows_of(tmp_path, ROWS))
    spaced = [json.dumps(row, indent=None, separators=(" , ", " : ")) for row in ROWS]
    assert check(rows_of(tmp_path, spaced)).source.digest == before.source.digest


def test_a_large_manifest_takes_little_memory(tmp_path: Path) -> None:
    """Bytes kept per row decide whether a million rows can be checked: rows of 2 kB must not be among them."""
    path = tmp_path / "m.jsonl"
    with path.open("w") as file:
        file.writelines(json.dumps({"tags": f"style {i}", "lyrics": "la " * 700}) + "\n" for i in range(5000))
    rows = JobRows(open_manifest(str(path)), scope())
    tracemalloc.start()
    try:
        found = check(rows)
        kept = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.source.rows == 5000
    assert kept < 5_000_000  # the file has 10.5 million bytes; its reader keeps one of them


def test_checking_needs_neither_torch_nor_ray(tmp_path: Path) -> None:
    script = (
        "import sys; from tests.bulk.manifests import rows_of; from acestep_flows.bulk.check import check;"
        "from pathlib import Path;"
        f"check(rows_of(Path({str(tmp_path)!r}), [{{'tags': 'funk'}}]));"
        "print(sorted({'torch', 'ray', 'transformers', 'scipy', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_whole_manifest_is_checked_before_anything_is_refused(tmp_path: Path) -> None:
    url = jsonl(tmp_path, [{"tags": 1} if i % 2 else {"tags": "ok"} for i in range(500)])
    assert check(JobRows(open_manifest(url), scope())).bad_rows == 250
