"""The encode job: latents of the stage, broken songs listed, interrupted jobs continued, other weights refused."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from acestep_flows.audio import write as writing
from acestep_flows.audio.formats import FORMATS
from acestep_flows.bulk.formats import parquet
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.cli.main import cli
from acestep_flows.errors import Cancelled, InputError
from acestep_flows.model.placement import Placement
from acestep_flows.stages.encode_audio import EncodeAudio
from acestep_flows.training.data import encode as job
from acestep_flows.training.data.encode import encode, load_encode_recipe
from acestep_flows.training.data.encode_ray import encode_shards
from acestep_flows.training.data.encoded import EncodedSet
from acestep_flows.training.data.encoder import EncodeRecipe
from acestep_flows.training.data.song import Song
from acestep_flows.training.data.sources import FolderSettings, FolderSongs, ParquetSettings, open_source
from acestep_flows.training.data.tables import Parquet
from acestep_flows.values import Audio
from tests.bulk.finished import JOB, done_row
from tests.model.small import small_checkpoint, small_folder
from tests.training.data.test_song_sources import noise, write_song


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EncodeRecipe:
    monkeypatch.setattr(job, "SHARD", 2)
    songs = tmp_path / "songs"
    write_song(songs, "a")
    write_song(songs, "b", tags=None)
    write_song(songs, "c")
    return EncodeRecipe.model_validate(
        {"checkpoint": small_folder(), "source": {"kind": "folder", "path": songs}, "dtype": "float32"}
    )


def test_latents_are_those_of_the_stage(recipe: EncodeRecipe, tmp_path: Path) -> None:
    reports: list[tuple[int, int, int]] = []
    encode(recipe, tmp_path / "out", report=lambda *counts: reports.append(counts))
    assert reports == [(2, 3, 1), (3, 3, 1)]
    songs = EncodedSet(tmp_path / "out")
    assert [song.key for song in songs.songs] == ["a", "c"]
    assert [broken.key for broken in songs.broken] == ["b"]
    stage = EncodeAudio()
    stage.load(small_checkpoint(), Placement())
    audio = open_source(recipe.source).song(2).tracks["mix"]
    expected = stage.run([EncodeAudio.In(audio)], [EncodeAudio.Params()])[0].latents.array
    np.testing.assert_allclose(songs.latents(1), expected, atol=2e-3, rtol=1e-3)


def test_an_interrupted_job_is_continued(recipe: EncodeRecipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode(recipe, out)
    modified = (out / "shard-00000.npy").stat().st_mtime_ns
    (out / "shard-00001.jsonl").unlink()
    reports: list[tuple[int, int, int]] = []
    encode(recipe, out, report=lambda *counts: reports.append(counts))
    assert reports == [(2, 3, 1), (3, 3, 1)]
    assert (out / "shard-00000.npy").stat().st_mtime_ns == modified
    assert len(EncodedSet(out)) == 2


def test_broken_songs_are_tried_again(recipe: EncodeRecipe, tmp_path: Path) -> None:
    out, songs = tmp_path / "out", tmp_path / "songs"
    encode(recipe, out)
    before = EncodedSet(out)
    (songs / "b_prompt.txt").write_text("rock")
    reports: list[tuple[int, int, int]] = []
    encode(recipe, out, report=lambda *counts: reports.append(counts))
    assert reports == [(3, 3, 0)]
    after = EncodedSet(out)
    assert [song.key for song in after.songs] == ["a", "b", "c"]
    assert np.array_equal(after.latents(0), before.latents(0))
    assert after.digest != before.digest


def test_an_unexpected_error_breaks_one_song_only(
    recipe: EncodeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def song(self: FolderSongs, index: int) -> Song:
        raise ZeroDivisionError("unexpected")

    monkeypatch.setattr(FolderSongs, "song", song)
    reports: list[tuple[int, int, int]] = []
    encode(recipe, tmp_path / "out", report=lambda *counts: reports.append(counts))
    assert reports[-1] == (3, 3, 3)
    with pytest.raises(InputError, match="ZeroDivisionError: unexpected"):
        EncodedSet(tmp_path / "out")


def test_songs_that_have_changed_are_refused(recipe: EncodeRecipe, tmp_path: Path) -> None:
    encode(recipe, tmp_path / "out")
    (tmp_path / "songs" / "c_lyrics.txt").write_text("other words")
    with pytest.raises(InputError, match="songs have changed since they were encoded: c "):
        encode(recipe, tmp_path / "out")


def test_a_song_replaced_with_its_time_is_refused(recipe: EncodeRecipe, tmp_path: Path) -> None:
    encode(recipe, tmp_path / "out")
    song = tmp_path / "songs" / "c.wav"
    status, content = song.stat(), bytearray(song.read_bytes())
    content[-1] ^= 1
    song.write_bytes(content)
    os.utime(song, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match="songs have changed since they were encoded: c "):
        encode(recipe, tmp_path / "out")


def test_a_source_may_be_moved(recipe: EncodeRecipe, tmp_path: Path) -> None:
    encode(recipe, tmp_path / "out")
    (tmp_path / "songs").rename(tmp_path / "moved")
    moved = recipe.model_copy(update={"source": FolderSettings(path=tmp_path / "moved")})
    encode(moved, tmp_path / "out")
    assert EncodedSet(tmp_path / "out").about["source"]["path"] == str(tmp_path / "moved")
    write_song(tmp_path / "fourth", "d")
    other = recipe.model_copy(update={"source": FolderSettings(path=tmp_path / "fourth")})
    with pytest.raises(InputError, match="another songs"):
        encode(other, tmp_path / "out")


def test_few_songs_are_shared_by_all_workers() -> None:
    assert [job._shard_size(songs, 4) for songs in (1, 3, 16, 40, 10_000)] == [1, 1, 1, 3, 64]
    assert job._shard_size(3, 0) == 64


def test_a_folder_keeps_its_shard_size(recipe: EncodeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(recipe, tmp_path / "out")
    (tmp_path / "out" / "shard-00001.jsonl").unlink()
    monkeypatch.setattr(job, "SHARD", 64)
    encode(recipe, tmp_path / "out")
    assert len(EncodedSet(tmp_path / "out")) == 2
    assert len(list((tmp_path / "out").glob("*.npy"))) == 2


def test_a_stopped_job_keeps_finished_shards(
    recipe: EncodeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def stop_after_first_shard() -> Iterator[Callable[[], bool]]:
        yield (tmp_path / "out" / "shard-00000.jsonl").is_file

    monkeypatch.setattr(job, "stop_requests", stop_after_first_shard)
    with pytest.raises(Cancelled, match="stopped after 2 of 3 songs; the same command goes on"):
        encode(recipe, tmp_path / "out")
    monkeypatch.undo()
    encode(recipe, tmp_path / "out")
    assert len(EncodedSet(tmp_path / "out")) == 2


def test_lyrics_that_cannot_be_tokenised_are_noted(recipe: EncodeRecipe, tmp_path: Path) -> None:
    (tmp_path / "songs" / "c_lyrics.txt").write_text("უცნობი სიტყვები მღერიან აქ\nდა კიდევ ერთი სტრიქონი")
    encode(recipe, tmp_path / "out")
    notes = {song.key: song.note for song in EncodedSet(tmp_path / "out").songs}
    assert "cannot be tokenised as in training" in notes["c"]


def test_songs_of_a_bulk_job(recipe: EncodeRecipe, tmp_path: Path) -> None:
    """Edited songs, in the data set that a bulk job writes."""
    folder = JobFolder(str(tmp_path / "bulk"))
    folder.prepare()
    content = writing.encode(Audio(noise(3.5), 44_100), FORMATS["flac"], subtype=None, tags=None).content
    texts = {"tags": "old", "lyrics": "old words", "new_tags": "new, newer", "new_lyrics": "new words"}
    inputs = {name: {"type": "text"} for name in texts}
    bulk_job = replace(JOB, content={"graph": {"graph": "edit-step", "inputs": inputs}})
    rows = [replace(done_row(index), inputs_json=json.dumps(texts)) for index in range(2)]
    for row in rows:
        folder.write(row.audio_path or "", content)
    parquet.write(folder, "dataset", "songs", bulk_job, rows)
    edited = recipe.model_copy(update={"source": ParquetSettings(path=tmp_path / "bulk" / "dataset")})
    encode(edited, tmp_path / "out")
    songs = EncodedSet(tmp_path / "out")
    assert [song.key for song in songs.songs] == ["row/0", "row/1"]
    assert {(song.tags, song.lyrics) for song in songs.songs} == {(("new", "newer"), "new words")}


def test_another_source_is_refused(recipe: EncodeRecipe, tmp_path: Path) -> None:
    encode(recipe, tmp_path / "out")
    other = recipe.model_copy(update={"dtype": "bfloat16"})
    with pytest.raises(InputError, match="another dtype"):
        encode(other, tmp_path / "out")


def test_command_lists_what_it_left_out(recipe: EncodeRecipe, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.model_dump_json())
    result = CliRunner().invoke(cli, ["encode", str(file), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "left out b" in result.output
    assert "left out b: b: " not in result.output
    wrong = CliRunner().invoke(cli, ["encode", str(file), "--out", str(tmp_path / "x"), "--set", "source.paths=1"])
    assert wrong.exit_code != 0
    assert "paths" in wrong.output


def test_songs_with_one_fault_are_one_line(recipe: EncodeRecipe, tmp_path: Path) -> None:
    for name in ("d", "far/e", "f", "g"):
        write_song(tmp_path / "songs" / Path(name).parent, Path(name).name, tags=None)
    write_song(tmp_path / "songs", "noise")
    (tmp_path / "songs" / "noise.wav").write_bytes(b"not music")
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.model_dump_json())
    result = CliRunner().invoke(cli, ["encode", str(file), "--out", str(tmp_path / "out"), "--quiet"])
    assert result.exit_code == 0, result.output
    without_tags, unreadable = result.stderr.splitlines()
    assert without_tags.startswith("left out 5 songs (b, d, f and 2 more): no X_prompt.txt (allowed: tags in X_prompt")
    assert unreadable.startswith("left out noise: ")


def test_songs_of_a_table_with_one_fault_are_one_line(recipe: EncodeRecipe, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "b", "c"], "tags": ["pop"] * 3}), tmp_path / "songs.parquet")
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.model_copy(update={"source": ParquetSettings(path=tmp_path)}).model_dump_json())
    result = CliRunner().invoke(cli, ["encode", str(file), "--out", str(tmp_path / "out"), "--quiet"])
    told, error = result.stderr.splitlines()
    assert told.startswith("left out 3 songs (a, b, c): no audio (allowed")
    assert error.startswith("error: ")


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library warns about its own settings
def test_workers_give_the_same_songs(recipe: EncodeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "SHARD", 64)
    reports: list[tuple[int, int, int]] = []
    encode(recipe, tmp_path / "local")
    encode(recipe, tmp_path / "ray", workers=1, report=lambda *counts: reports.append(counts))
    assert [done for done, *_ in reports] == [1, 2, 3]  # few songs give small shards
    assert reports[-1] == (3, 3, 1)
    local, remote = (EncodedSet(tmp_path / name) for name in ("local", "ray"))
    assert local.digest == remote.digest
    np.testing.assert_allclose(local.latents(1), remote.latents(1), atol=2e-3)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library warns about its own settings
def test_workers_stop_on_request(recipe: EncodeRecipe, tmp_path: Path) -> None:
    """After a stop request the worker processes end, and the folder has no unfinished shard."""
    shards = encode_shards(recipe, tmp_path, [0], 64, 1, "cpu", lambda: True)
    with pytest.raises(Cancelled):
        next(shards)
    assert not list(tmp_path.glob("shard-*"))


def test_another_kind_of_source_leaves_out_what_was_of_the_old_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recipe = load_encode_recipe("nano-encode", ["source.kind=parquet", "source.path=songs"])
    assert recipe.source == ParquetSettings(path=Path("songs"))
    of_synthesis = ["count", "seed", "seconds", "aligned", "vocals", "tempo_spread", "steady_voice", "beats", "voices"]
    assert f"a source of kind parquet has no {', '.join(of_synthesis)}: left out" in caplog.text
    assert not [record for record in caplog.records if record.levelno > logging.INFO], "it is what was asked for"
    assert load_encode_recipe("ace-step-encode", ["source.kind=datasets"]).source.kind == "datasets"


@pytest.mark.parametrize(
    ("assignments", "told"),
    [
        (["source.kind=parquet"], "nano-encode: source.path: missing"),
        (["source.kind=parkett"], "source.kind: text 'parkett' (allowed: folder, datasets, parquet, synthesis)"),
        (["source.kind=folder", "source.path=x", "source.a=3"], "source.a: no such field (allowed: kind, path)"),
        (["source.count=0"], "source.count: 0 (allowed: more than 0)"),
    ],
)
def test_faults_of_a_source_are_told_by_the_names_of_the_recipe(assignments: list[str], told: str) -> None:
    with pytest.raises(InputError) as refused:
        load_encode_recipe("nano-encode", assignments)
    assert str(refused.value).endswith(told)


def test_a_folder_from_before_a_setting_was_added_goes_on(tmp_path: Path) -> None:
    source = {"kind": "synthesis", "count": 2, "seconds": {1.0: 1.0}}
    recipe = EncodeRecipe.model_validate({"checkpoint": small_folder(), "source": source, "dtype": "float32"})
    encode(recipe, tmp_path)
    about = json.loads((tmp_path / "encoded.json").read_text())
    for name in ("beats", "voices", "steady_voice", "tempo_spread"):
        del about["source"][name]
    (tmp_path / "encoded.json").write_text(json.dumps(about))
    encode(recipe, tmp_path)
    changed = EncodeRecipe.model_validate(
        {"checkpoint": small_folder(), "source": source | {"beats": 1.0}, "dtype": "float32"}
    )
    with pytest.raises(InputError, match="another source"):
        encode(changed, tmp_path)


def test_a_command_that_encodes_nothing_fails(recipe: EncodeRecipe, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "tags": ["pop"]}), tmp_path / "songs.parquet")
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.model_copy(update={"source": ParquetSettings(path=tmp_path)}).model_dump_json())
    result = CliRunner().invoke(cli, ["encode", str(file), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "0 of 1 song encoded, 1 left out, " in result.stderr
    assert "left out a: no audio (allowed" in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'out'}: no song was encoded")
    assert result.stdout == ""


def test_the_folder_of_a_bulk_job_names_its_data_set(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(InputError, match="the folder of a bulk job .allowed: its data set: .*dataset"):
        Parquet(tmp_path)
