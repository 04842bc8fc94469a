from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acestep_flows.bulk import seeds
from acestep_flows.bulk.job import BulkJob, ManifestSource, Sweep
from acestep_flows.bulk.manifest import open_manifest
from acestep_flows.bulk.rows import JobRows
from acestep_flows.errors import InputError
from acestep_flows.graph.planning.layout import digest, lay_out
from acestep_flows.graph.records.graph_content import graph_content
from tests.bulk.manifests import jsonl, rows_of, scope


def test_rows_are_complete_and_numbered(tmp_path: Path) -> None:
    rows = list(rows_of(tmp_path, [{"id": "Night/Bus", "tags": "funk", "seed": 4}, "", {"tags": "soul"}],
                        constants={"steps": 27}))  # fmt: skip
    first, second = rows
    assert (first.index, first.line, first.id, first.problem) == (0, 1, "Night/Bus", None)
    assert first.inputs == {"steps": 27, "tags": "funk", "seed": 4}
    assert first.stem.startswith("night_bus-")
    assert (second.index, second.line, second.id) == (1, 3, second.stem)
    assert second.inputs["seed"] == seeds.drawer(0, second.id)("seed")


def test_rows_are_the_same_each_time_and_plans_come_of_them(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [{"tags": "funk"}, {"tags": "soul", "duration": 5}])
    assert list(rows) == list(rows)
    for row in rows:
        plan = lay_out(rows.scope, row.inputs, seeds.drawer(0, row.id))
        assert plan.inputs["seed"] == row.inputs["seed"]
        json.dumps(row.inputs)


def test_the_kind_of_manifest_does_not_matter(tmp_path: Path) -> None:
    cells = [{"tags": "funk", "duration": 30.5, "seed": 4}, {"tags": "soul", "duration": 5.0, "seed": 2**32 - 1}]
    (tmp_path / "m.csv").write_text("seed,tags,duration\n4,funk,30.5\n4294967295,soul,5\n")
    pq.write_table(pa.Table.from_pylist(cells), tmp_path / "m.parquet")
    urls = [jsonl(tmp_path, cells), str(tmp_path / "m.csv"), str(tmp_path / "m.parquet")]
    made = [[(row.id, row.inputs) for row in JobRows(open_manifest(url), scope())] for url in urls]
    assert made[0] == made[1] == made[2]


def test_equal_rows_are_takes_and_equal_ids_are_a_problem(tmp_path: Path) -> None:
    rows = list(rows_of(tmp_path, [{"tags": "a"}, {"tags": "a"}, {"tags": "a"}]))
    assert len({row.id for row in rows}) == len({row.inputs["seed"] for row in rows}) == 3
    assert [row.problem for row in rows] == [None] * 3
    assert rows[1].id == f"{rows[0].id}-2"
    rows = list(
        rows_of(
            tmp_path,
            [{"id": "x", "tags": "a"}, {"id": 7, "tags": "b"}, {"id": "x", "tags": "c"}, {"id": "7", "tags": "d"}],
        )
    )
    assert [row.problem for row in rows] == [None, None, "id 'x' is on line 1 too", "id '7' is on line 2 too"]
    assert [row.id for row in rows] == ["x", "7", "x (line 3)", "7 (line 4)"]


def test_the_dead_letter_of_a_repeated_id_is_told_from_swept_rows(tmp_path: Path) -> None:
    sweeps = [Sweep("seed", (1, 2))]
    rows = [{"id": "one", "tags": "a"}, {"id": "one", "tags": "b"}, {"id": "one (line 2)", "tags": "c"}]
    assert [(row.id, row.problem is None) for row in rows_of(tmp_path, rows, sweeps=sweeps)] == [
        ("one-1", True),
        ("one-2", True),
        ("one (line 2)-1", False),
        ("one (line 2)-2", False),
        ("one (line 2) (line 3)-1", False),
        ("one (line 2) (line 3)-2", False),
    ]


BAD = [
    ({"tags": 7}, "tags: 7 (allowed: text)"),
    ({"lyrics": "la"}, "tags: missing (allowed: text)"),
    ({"tags": None}, "tags: missing (allowed: text)"),
    ({"tags": "x", "bpm": 120}, "no input 'bpm'"),
    ({"tags": "x", "durration": 3}, "nearest 'duration'"),
    ({"tags": "x", "duration": "30"}, "duration: text '30'"),
    ({"tags": "x", "duration": 1e9}, "0.1 to 240 s"),
    ({"tags": "x", "seed": -1}, "seed"),
    ({"tags": "   "}, "tags"),
    ({"tags": "\ud800"}, "tags"),
    ({"tags": "x", "id": ""}, "id: empty"),
    ({"tags": "x", "id": ["a"]}, "id: a Python list"),
    ("{", "not JSON"),
]


@pytest.mark.parametrize(("row", "words"), BAD)
def test_bad_rows_carry_their_reason_and_harm_no_other(tmp_path: Path, row: Any, words: str) -> None:
    found = list(rows_of(tmp_path, [{"tags": "one"}, row, {"tags": "three"}]))
    assert [one.problem is None for one in found] == [True, False, True]
    assert words in (found[1].problem or "")
    assert (found[1].index, found[1].line) == (1, 2)
    assert found[1].id
    assert found[1].stem


def test_an_id_that_is_there_twice_is_told_beside_other_faults(tmp_path: Path) -> None:
    rows = list(rows_of(tmp_path, [{"id": "x", "tags": "a"}, {"id": "x", "tags": 7}]))
    assert rows[1].problem == "tags: 7 (allowed: text); id 'x' is on line 1 too"


def test_all_faults_of_a_row_are_told_at_once(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, [{"duration": "long", "seed": -1, "bpm": 3}])
    assert all(word in (row.problem or "") for word in ("duration", "seed", "bpm", "tags"))


def test_rows_of_a_csv_are_typed(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("id,tags,duration,seed\na,@funk,30,random\nb,soul,long,1\nc,pop,,\n")
    rows = list(JobRows(open_manifest(str(tmp_path / "m.csv")), scope()))
    assert rows[0].inputs == {"tags": "@funk", "duration": 30.0, "seed": seeds.drawer(0, "a")("seed")}
    assert rows[1].problem == "duration: 'long' is not a number (allowed: a number)"
    assert set(rows[2].inputs) == {"tags", "seed"}


def test_literal_line_breaks_of_a_csv_are_read_and_change_no_identity(tmp_path: Path) -> None:
    """Jobs of 0.1.0, which did not read them, go on: the manifest is the same."""
    (tmp_path / "m.csv").write_text('tags,lyrics\npop,"[verse]\\nla la"\nfolk,C:\\new\n')
    rows = JobRows(open_manifest(str(tmp_path / "m.csv")), scope())
    first, second = rows.checked_rows()
    assert first.inputs["lyrics"] == "[verse]\nla la"
    assert first.notes == (r"lyrics: \n is read as a line break",)
    assert (second.inputs["lyrics"], second.notes) == (r"C:\new", ())
    (exact,) = rows_of(tmp_path, [{"tags": "pop", "lyrics": r"[verse]\nla la"}])
    assert exact.inputs["lyrics"] == r"[verse]\nla la"
    assert first.id == exact.id


def test_random_may_stand_where_a_seed_may(tmp_path: Path) -> None:
    random, seven = rows_of(tmp_path, [{"id": "a", "tags": "x", "seed": "random"}, {"id": "b", "tags": "x", "seed": 7}])
    assert (random.problem, random.inputs["seed"]) == (None, seeds.drawer(0, "a")("seed"))
    assert seven.inputs["seed"] == 7


def test_unknown_columns_are_refused_at_once_and_may_be_ignored(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("id,tags,genre,bpm\n1,funk,pop,120\n")
    manifest = open_manifest(str(tmp_path / "m.csv"))
    with pytest.raises(InputError, match="'genre'.*'bpm'.*--ignore"):
        JobRows(manifest, scope())
    with pytest.raises(InputError, match="'bpm'"):
        JobRows(manifest, scope(), ignored=["genre"])
    for ignored in (["genre", "bpm"], ["*"]):
        (row,) = JobRows(manifest, scope(), ignored=ignored)
        assert (row.id, row.inputs["tags"], row.problem) == ("1", "funk", None)
    (row,) = JobRows(manifest, scope(), ignored=["genre", "bpm", "id"])
    assert row.id != "1"


def test_a_column_that_no_row_has_is_missed_at_once(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("lyrics\nla\n")
    with pytest.raises(InputError, match="tags: missing"):
        JobRows(open_manifest(str(tmp_path / "m.csv")), scope())


def test_an_input_comes_from_one_place(tmp_path: Path) -> None:
    row = {"tags": "funk", "seed": 1}
    (found,) = rows_of(tmp_path, [row], constants={"seed": 3})
    assert found.problem == (
        "column seed is given by --set too; leave out one of them (--ignore seed leaves out the column)"
    )
    (found,) = rows_of(tmp_path, [row], sweeps=[Sweep("seed", (1,))])
    assert found.problem == (
        "column seed is given by --sweep too; leave out one of them (--ignore seed leaves out the column)"
    )
    with pytest.raises(InputError, match="--sweep"):
        rows_of(tmp_path, [row], constants={"steps": 3}, sweeps=[Sweep("steps", (1,))])


@pytest.mark.parametrize("constants", [{"stepps": 3}, {"steps": 0}, {"steps": "3"}, {"tags": " "}])
def test_constants_are_checked_once(tmp_path: Path, constants: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        rows_of(tmp_path, [{"lyrics": "la"}], constants=constants)


def test_sweeps_multiply_rows_in_order(tmp_path: Path) -> None:
    sweeps = [Sweep("steps", (10, 20)), Sweep("seed", (1, 2, 3))]
    rows = list(rows_of(tmp_path, [{"id": "a", "tags": "x"}, {"id": "b", "tags": 7}], sweeps=sweeps))
    assert [row.index for row in rows] == list(range(12))
    assert [row.id for row in rows[:6]] == [f"a-{i}" for i in range(1, 7)]
    assert [(row.inputs["steps"], row.inputs["seed"]) for row in rows[:6]] == [
        (10, 1), (10, 2), (10, 3), (20, 1), (20, 2), (20, 3),
    ]  # fmt: skip
    assert {row.problem for row in rows[6:]} == {"tags: 7 (allowed: text)"}
    assert len({row.id for row in rows}) == 12


def test_a_swept_value_that_a_stage_refuses_is_refused_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--sweep: tags"):
        rows_of(tmp_path, [{"lyrics": "la"}], sweeps=[Sweep("tags", ("ok", " "))])


def test_a_job_needs_no_manifest() -> None:
    rows = list(JobRows(None, scope(), constants={"tags": "funk"}, sweeps=[Sweep("seed", (1, 2))]))
    assert [(row.line, row.inputs) for row in rows] == [(0, {"tags": "funk", "seed": seed}) for seed in (1, 2)]
    (row,) = JobRows(None, scope())
    assert row.problem == "tags: missing (allowed: text)"


def test_rows_come_again_from_the_job(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, [{"tags": "a"}, {"tags": "b", "seed": 3}], constants={"steps": 5}, seed=9,
                   sweeps=[Sweep("duration", (1.0, 2.0))])  # fmt: skip
    assert rows.manifest is not None
    job = BulkJob(ManifestSource(rows.manifest.url), "text2music", digest(rows.scope), graph_content(rows.scope),
              seed=9, constants=rows.constants, sweeps=rows.sweeps)  # fmt: skip
    assert list(JobRows.of(job)) == list(rows)


def test_paths_in_rows_start_from_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    found = list(rows_of(tmp_path, [{"latents": "song.wav"}, {"latents": "absent.wav"}, {"latents": 3}], "decode"))
    assert found[0].inputs == {"latents": str(tmp_path / "song.wav")}
    assert found[1].problem == "latents: no file 'absent.wav' (allowed: a file that is there)"
    assert found[2].problem


def test_paths_start_from_a_manifest_that_is_given_by_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from the working folder, where another file of that name may be."""
    lists, elsewhere = tmp_path / "my lists", tmp_path / "elsewhere"
    for folder in (lists, elsewhere):
        folder.mkdir()
        (folder / "song.wav").write_bytes(b"RIFF")
    monkeypatch.chdir(elsewhere)
    url = Path(jsonl(lists, [{"latents": "song.wav"}])).as_uri()
    (row,) = JobRows(open_manifest(url), scope("decode"))
    assert row.inputs == {"latents": str(lists / "song.wav")}


CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["id", "tags", "lyrics", "duration", "seed", "steps", "solver", "other"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(NAMES, CELLS, max_size=5), min_size=1, max_size=6))
def test_every_row_is_usable_or_says_why(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    maker = rows_of(tmp_path, rows)
    found = list(maker)
    assert [row.line for row in found] == list(range(1, len(rows) + 1))
    assert len({row.id for row in found}) == len({row.stem for row in found}) == len(rows)
    for row in found:
        if row.problem is None:
            lay_out(maker.scope, row.inputs)
