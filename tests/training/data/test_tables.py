"""Songs in tables: which files are read, what columns mean, and that a wrong cell is an error of its song alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acestep_flows.errors import InputError
from acestep_flows.training.data.sources import DatasetsSettings, ParquetSettings, open_source
from tests.training.data.test_song_sources import write_song


def columns(folder: Path) -> pa.Table:
    write_song(folder, "a")
    return pa.table(
        {
            "keys": ["a", "b"],
            "filename": [str(folder / "a.wav"), str(folder / "missing.wav")],
            "tags": [["house", "slow"], ["rock"]],
            "norm_lyrics": ["la", ""],
            "recaption": pa.array([{"simplified": "club"}, {"simplified": ""}]),
        }
    )


def save_to_disk(table: pa.Table, folder: Path, *others: str) -> Path:
    """Write `table` as `datasets` does, and `others`, arrow files that are caches."""
    folder.mkdir(parents=True)
    name = "data-00000-of-00001.arrow"
    for file in (name, *others):
        with pa.OSFile(str(folder / file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    state = {"_data_files": [{"filename": name}], "_fingerprint": "0", "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def test_a_data_set_on_disk(tmp_path: Path) -> None:
    source = open_source(DatasetsSettings(path=save_to_disk(columns(tmp_path / "audio"), tmp_path / "set")))
    song = source.song(0)
    assert (song.key, song.tags, song.lyrics) == ("a", ("house", "slow"), "la")
    assert song.recaptions == {"simplified": "club"}
    with pytest.raises(InputError):
        source.song(1)


def test_cache_files_beside_a_data_set_are_ignored(tmp_path: Path) -> None:
    table = columns(tmp_path / "audio")
    folder = save_to_disk(table, tmp_path / "set", "cache-2f1a.arrow", "tmp0123.arrow")
    assert len(open_source(DatasetsSettings(path=folder))) == 2


def test_of_several_splits_train_is_taken(tmp_path: Path) -> None:
    table = columns(tmp_path / "audio")
    save_to_disk(table, tmp_path / "set" / "train")
    save_to_disk(table.slice(0, 1), tmp_path / "set" / "test")
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    assert len(open_source(DatasetsSettings(path=tmp_path / "set"))) == 2


@pytest.mark.parametrize(
    ("state", "message"),
    [("{", "not readable"), ("[]", "not readable"), ('{"_data_files": [{"filename": "x.arrow"}]}', "no file x.arrow")],
)
def test_a_damaged_data_set_is_refused(tmp_path: Path, state: str, message: str) -> None:
    folder = save_to_disk(columns(tmp_path / "audio"), tmp_path / "set")
    (folder / "state.json").write_text(state)
    with pytest.raises(InputError, match=message):
        open_source(DatasetsSettings(path=folder))


def parquet(folder: Path, rows: dict[str, list[Any]]) -> ParquetSettings:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(rows), folder / "songs.parquet")
    return ParquetSettings(path=folder / "songs.parquet")


def test_parquet_with_audio_in_a_column(tmp_path: Path) -> None:
    write_song(tmp_path, "a")
    content = (tmp_path / "a.wav").read_bytes()
    rows: dict[str, list[Any]] = {
        "id": ["one", "two"],
        "audio": [{"bytes": content, "path": None}, {"bytes": None, "path": None}],
        "inputs_json": ['{"tags": "house, slow", "lyrics": "la"}', "{}"],
        "status": ["done", "failed"],
        "error": [None, "out of memory"],
    }
    source = open_source(parquet(tmp_path, rows))
    assert (source.song(0).tags, source.song(0).lyrics) == (("house", "slow"), "la")
    with pytest.raises(InputError, match="out of memory"):
        source.song(1)


def test_a_stamp_goes_by_the_content_of_the_table_and_of_the_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_song(tmp_path, name)
    rows = {"audio_path": [str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "gone.wav"], "tags": ["x", "y", "z"]}
    settings = parquet(tmp_path, rows)
    before = [open_source(settings).stamp(index) for index in range(3)]
    os.utime(settings.path)
    assert [open_source(settings).stamp(index) for index in range(3)] == before
    former = open_source(settings).former_stamp(0)
    (tmp_path / "b.wav").write_bytes(b"other music")
    source = open_source(settings)
    assert [source.stamp(index) == stamp for index, stamp in enumerate(before)] == [True, False, True]
    assert source.has_stamp(0, former)
    parquet(tmp_path, rows | {"tags": ["x", "y", "other"]})
    assert open_source(settings).stamp(0) != before[0]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"tags": [5]}, r"tags: \[5\]"),
        ({"tags": 5}, "tags: 5"),
        ({"tags": {"a": "b"}}, "tags: "),
        ({"tags": "x", "lyrics": 7}, "lyrics: 7"),
        ({"tags": "x", "new_lyrics": ["la"]}, "new_lyrics: "),
        ({"tags": "x", "recaption": "no JSON"}, "recaption: 'no JSON'"),
        ({"tags": "x", "recaption": ["a"]}, "recaption: "),
        ({"tags": "x", "recaption": {"simplified": 5}}, "recaption: "),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, inputs: dict[str, Any], message: str) -> None:
    write_song(tmp_path, "a")
    rows = {"id": ["one"], "audio_path": [str(tmp_path / "a.wav")], "inputs_json": [json.dumps(inputs)]}
    with pytest.raises(InputError, match=f"one: {message}"):
        open_source(parquet(tmp_path, rows)).song(0)


def test_captions_may_be_json(tmp_path: Path) -> None:
    write_song(tmp_path, "a")
    rows = {
        "filename": [str(tmp_path / "a.wav")],
        "tags": ["x"],
        "recaption": ['{"simplified": "club", "other": null}'],
    }
    assert open_source(parquet(tmp_path, rows)).song(0).recaptions == {"simplified": "club"}


@pytest.mark.parametrize("name", ["x" * 300 + ".wav", "a\0b.wav", "missing.wav", 5.5])
def test_missing_audio_is_refused(tmp_path: Path, name: object) -> None:
    with pytest.raises(InputError):
        open_source(parquet(tmp_path, {"audio_path": [name], "tags": ["x"]})).song(0)


def test_edited_songs_have_their_new_texts(tmp_path: Path) -> None:
    write_song(tmp_path, "a")
    edited = [
        {"tags": "old", "new_tags": "new, newer", "lyrics": "old", "new_lyrics": "new"},
        {"tags": "old", "new_tags": " "},
    ]
    rows = {"audio_path": [str(tmp_path / "a.wav")] * 2, "inputs_json": [json.dumps(inputs) for inputs in edited]}
    source = open_source(parquet(tmp_path, rows))
    assert (source.song(0).tags, source.song(0).lyrics) == (("new", "newer"), "new")
    assert (source.song(1).tags, source.song(1).lyrics) == (("old",), "")


def test_tables_without_songs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no data set .*state\.json"):
        open_source(DatasetsSettings(path=tmp_path))
    with pytest.raises(InputError, match="no parquet files"):
        open_source(ParquetSettings(path=tmp_path))
    with pytest.raises(InputError, match=r"songs\.parquet: a table without rows"):
        open_source(parquet(tmp_path, {"audio_path": [], "tags": []}))
    (tmp_path / "songs.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(InputError, match="cannot be read"):
        open_source(ParquetSettings(path=tmp_path))
