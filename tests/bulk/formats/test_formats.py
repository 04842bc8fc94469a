"""Data sets: what is in them, what other libraries need of them, and that they are written once."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from acestep_flows.audio import write as writing
from acestep_flows.audio.formats import FORMATS
from acestep_flows.bulk import formats
from acestep_flows.bulk.formats import parquet, webdataset
from acestep_flows.bulk.formats.parts import parts
from acestep_flows.bulk.identity import stem
from acestep_flows.bulk.job import BulkJob, Shard
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.results import ResultRow, table
from acestep_flows.errors import StorageError
from acestep_flows.values import seconds_from_frames
from tests.bulk.finished import INPUTS, JOB, done_row
from tests.bulk.songs import chords

FLAC = writing.encode(chords(1, 1.0), FORMATS["flac"], subtype=None, tags=None).content


@pytest.fixture
def job_folder(tmp_path: Path) -> JobFolder:
    """A folder with twelve songs."""
    job_folder = JobFolder(str(tmp_path / "out"))
    job_folder.prepare()
    for index in range(12):
        job_folder.write(done_row(index).audio_path or "", FLAC)
    return job_folder


def job(**changes: Any) -> BulkJob:
    return dataclasses.replace(JOB, **changes)


def rows(count: int = 3) -> list[ResultRow]:
    return [done_row(index) for index in range(count)]


def opened(job_folder: JobFolder, path: str) -> pa.Table:
    return pq.read_table(io.BytesIO(job_folder.read(path) or b""))


def features(schema: pa.Schema) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    return told


def test_rows_stand_in_the_order_of_the_manifest(job_folder: JobFolder) -> None:
    written = formats.write(job_folder, JOB, table(reversed(rows(5))))
    assert written.files == ("dataset/train-00000-of-00001.parquet",)
    found = opened(job_folder, written.files[0])
    assert found["index"].to_pylist() == [0, 1, 2, 3, 4]
    assert found["id"][2].as_py() == "row/2"


def test_inputs_have_the_types_of_the_graph(job_folder: JobFolder) -> None:
    declared = {
        "tags": {"type": "text"},
        "seed": {"type": "seed"},
        "strength": {"type": "float", "default": None},
        "span": {"type": "span"},
        "edits": {"type": "list of record", "fields": {}},
        "source": {"type": "audio"},
    }
    given = {"tags": "lo-fi", "seed": 2**32 - 1, "span": [1, 2.5], "edits": [{"a": 1}], "source": "song.wav"}
    row = dataclasses.replace(done_row(0), inputs_json=json.dumps(given))
    written = formats.write(job_folder, job(content={"graph": {"inputs": declared}}), table([row]))
    found = opened(job_folder, written.files[0])
    told = found.schema.field("inputs").type
    assert [(field.name, str(field.type)) for field in told] == [
        ("tags", "string"),
        ("seed", "int64"),
        ("strength", "double"),
        ("span", "string"),
        ("edits", "string"),
        ("source", "string"),
    ]
    expected = {"tags": "lo-fi", "seed": 2**32 - 1, "strength": None, "span": "[1,2.5]", "edits": '[{"a":1}]'}
    assert found["inputs"][0].as_py() == expected | {"source": "song.wav"}


def test_audio_by_path_or_inside(job_folder: JobFolder) -> None:
    by_path = opened(job_folder, formats.write(job_folder, JOB, table(rows())).files[0])
    address = by_path["audio"][1].as_py()
    assert address["bytes"] is None
    assert soundfile.info(address["path"]).samplerate == 48_000
    assert by_path["audio_path"][1].as_py() == "audio/000/row_1.flac"

    inside = opened(job_folder, formats.write(job_folder, job(embed=True), table(rows())).files[0])
    assert inside["audio"][1].as_py() == {"bytes": FLAC, "path": "row_1.flac"}


def test_every_column_is_told_to_hugging_face(job_folder: JobFolder) -> None:
    schema = opened(job_folder, formats.write(job_folder, JOB, table(rows())).files[0]).schema
    told = features(schema)
    assert list(told) == schema.names
    assert told["audio"] == {"sampling_rate": 48_000, "_type": "Audio"}
    assert told["inputs"]["duration"] == {"dtype": "float64", "_type": "Value"}
    assert told["measurements"]["key"] == {"dtype": "string", "_type": "Value"}
    assert told["finished"] == {"dtype": "timestamp[us, tz=UTC]", "_type": "Value"}
    assert told["status"] == {"dtype": "string", "_type": "Value"}
    assert told["warnings"] == {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"}


def test_the_schema_does_not_depend_on_the_rows(job_folder: JobFolder) -> None:
    """Columns of which nothing is known have their types, so files of different shards are one data set."""
    bare = dataclasses.replace(done_row(0), measurements=None, stage_seconds={}, seed=None, finished=None)
    one, other = (
        parquet.write(job_folder, "dataset", name, JOB, found) for name, found in (("a", [bare]), ("b", rows()))
    )
    assert opened(job_folder, f"dataset/{one[0]}").schema == opened(job_folder, f"dataset/{other[0]}").schema
    whole = pq.read_table(str(Path(job_folder.url) / "dataset"))
    assert whole.num_rows == 4


def test_no_rows_are_a_data_set_too(job_folder: JobFolder) -> None:
    written = formats.write(job_folder, JOB, table([]))
    assert opened(job_folder, written.files[0]).num_rows == 0


def test_duplicates_share_the_song(job_folder: JobFolder) -> None:
    copy = dataclasses.replace(
        done_row(7), status="duplicate", duplicate_of="row/1", audio_path=None, measurements=None, audio_digest=None
    )
    found = opened(job_folder, formats.write(job_folder, JOB, table([*rows(), copy])).files[0]).to_pylist()
    assert found[3]["audio"] == found[1]["audio"]
    assert found[3]["audio_digest"] == found[1]["audio_digest"]
    assert (found[3]["id"], found[3]["status"]) == ("row/7", "duplicate")
    assert formats.write(job_folder, job(layout="webdataset"), table([*rows(), copy])).rows == 3


def test_warnings_of_a_song_are_a_list(job_folder: JobFolder) -> None:
    loud, short, good, in_frames = rows(4)
    turned_down = "turned down by 2.0 dB"
    loud = dataclasses.replace(loud, warnings=turned_down)
    short = dataclasses.replace(short, duration=2.9, duration_asked=3.0)
    copy = dataclasses.replace(loud, id="row/7", index=7, status="duplicate", duplicate_of=loud.id, audio_path=None)
    copy = dataclasses.replace(copy, warnings=None)
    in_frames = dataclasses.replace(in_frames, duration=seconds_from_frames(32), duration_asked=3.0)
    content = table([loud, short, good, in_frames, copy])
    found = opened(job_folder, formats.write(job_folder, JOB, content).files[0])
    assert found["warnings"].to_pylist() == [[turned_down], ["2.90 s of the 3 s asked"], [], [], [turned_down]]
    assert found["duration_asked"].to_pylist()[3] == 3.0
    tar = job_folder.read(formats.write(job_folder, job(layout="webdataset"), content).files[0]) or b""
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        facts = archive.extractfile(archive.getnames()[1])
        assert facts is not None
        assert json.loads(facts.read())["warnings"] == [turned_down]


@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
def test_the_same_rows_are_written_once(job_folder: JobFolder, layout: Any) -> None:
    kept = job(layout=layout, embed=True)
    first = formats.write(job_folder, kept, table(rows()))
    assert first.fresh
    content = [job_folder.read(path) for path in first.files]
    again = formats.write(job_folder, kept, table(rows()))
    assert (again.fresh, again.files) == (False, first.files)

    job_folder.delete(first.files[0])
    repaired = formats.write(job_folder, kept, table(rows()))
    assert repaired.fresh
    assert [job_folder.read(path) for path in repaired.files] == content

    grown = formats.write(job_folder, kept, table(rows(5)))
    assert (grown.fresh, grown.rows) == (True, 5)
    assert job_folder.names("dataset") == sorted(Path(path).name for path in grown.files)


def test_files_of_an_earlier_state_are_removed(job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "SHARD_ROWS", 2)
    assert len(formats.write(job_folder, JOB, table(rows(5))).files) == 3
    grown = formats.write(job_folder, JOB, table(rows(8)))
    assert job_folder.names("dataset") == [Path(path).name for path in grown.files]
    assert pq.read_table(str(Path(job_folder.url) / "dataset")).num_rows == 8


def test_shards_stand_beside_each_other(job_folder: JobFolder) -> None:
    for number in (1, 2):
        held = [row for row in rows(6) if Shard(number, 2).holds(row.index)]
        formats.write(job_folder, JOB, table(held), Shard(number, 2))
    assert len(job_folder.names("dataset")) == 2
    whole = pq.read_table(str(Path(job_folder.url) / "dataset"))
    assert sorted(whole["index"].to_pylist()) == [0, 1, 2, 3, 4, 5]


def test_a_job_that_was_divided_otherwise_has_every_row_once(job_folder: JobFolder) -> None:
    """Two parts, then the whole, then three parts: what was written before stays alone until the new is complete."""

    def write(shard: Shard) -> list[str]:
        formats.write(job_folder, job(), table(row for row in rows(6) if shard.holds(row.index)), shard)
        assert job_folder.local is not None
        return sorted(pq.read_table(job_folder.local / "dataset").column("id").to_pylist())

    every = [row.id for row in rows(6)]
    for number in (1, 2):
        write(Shard(number, 2))
    assert write(Shard()) == every
    assert write(Shard(1, 3)) == every
    assert write(Shard(2, 3)) == every
    assert write(Shard(3, 3)) == every
    assert write(Shard()) == every
    assert write(Shard()) == every
    training = job(layout="ace-training")
    formats.write(job_folder, training, table(rows(2)), Shard(1, 1))
    assert len(job_folder.names("dataset")) == 6, "texts and songs of two rows"


def test_an_input_that_is_not_given_is_null(job_folder: JobFolder) -> None:
    """Lists, records and spans are stored as JSON, and null is no text."""
    inputs = {**INPUTS, "oss_steps": {"type": "list of float", "default": None}}
    content = {"graph": {"graph": "text2music", "inputs": inputs}}
    given = dataclasses.replace(done_row(1), inputs_json='{"tags": "a", "oss_steps": [1.5, 2]}')
    absent = dataclasses.replace(done_row(0), inputs_json='{"tags": "a", "oss_steps": null}')
    (path,) = formats.write(job_folder, job(content=content), table([absent, given])).files
    assert opened(job_folder, path).column("inputs").combine_chunks().field("oss_steps").to_pylist() == [
        None,
        "[1.5,2]",
    ]


def test_a_song_that_is_gone(job_folder: JobFolder) -> None:
    job_folder.delete("audio/000/row_1.flac")
    with pytest.raises(StorageError, match="row_1.flac"):
        formats.write(job_folder, job(layout="webdataset"), table(rows()))


def test_files_are_cut_where_they_are_full() -> None:
    found = parts(rows(10), most_bytes=600_000, most_rows=100)
    assert [len(part) for part in found] == [2, 2, 2, 2, 2]
    assert [len(part) for part in parts(rows(10), float("inf"), 4)] == [4, 4, 2]
    assert [len(part) for part in parts(rows(2), most_bytes=1, most_rows=9)] == [1, 1]
    assert parts([], 1, 1) == []


def test_tar_files(job_folder: JobFolder) -> None:
    kept = job(layout="webdataset")
    names = webdataset.write(job_folder, "dataset", "train", kept, rows(4), bytes_each=600_000)
    assert names == ["train-000000.tar", "train-000001.tar"]
    content = job_folder.read(f"dataset/{names[0]}") or b""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [
            f"{stem(f'row/{index}')}.{kind}" for index in range(2) for kind in ("flac", "json")
        ]
        assert {member.mtime for member in members} == {0}
        assert all(member.name.count(".") == 1 for member in members)
        song, facts = (archive.extractfile(member) for member in members[:2])
        assert song is not None
        assert facts is not None
        assert song.read() == FLAC
        told = json.loads(facts.read())
    assert told["inputs"]["tags"] == "lo-fi, take 0"
    assert told["graph_digest"] == JOB.digest
    webdataset.write(job_folder, "dataset", "train", kept, rows(4), bytes_each=600_000)
    assert job_folder.read(f"dataset/{names[0]}") == content


def test_the_training_folder(job_folder: JobFolder) -> None:
    edited = dataclasses.replace(done_row(1), inputs_json='{"tags": "old", "new_tags": " jazz ", "lyrics": ""}')
    written = formats.write(job_folder, job(layout="ace-training"), table([done_row(0), edited]))
    assert len(written.files) == 6
    first, second = stem("row/0"), stem("row/1")
    assert soundfile.info(io.BytesIO(job_folder.read(f"dataset/{first}.mp3") or b"")).format == "MP3"
    assert job_folder.read(f"dataset/{first}_prompt.txt") == b"lo-fi, take 0"
    assert job_folder.read(f"dataset/{first}_lyrics.txt") == b"[verse]\nla"
    assert job_folder.read(f"dataset/{second}_prompt.txt") == b"jazz"
    assert job_folder.read(f"dataset/{second}_lyrics.txt") == b""
