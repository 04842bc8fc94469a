"""The encode job: what the stage gives, broken songs listed, interrupted runs go on, other weights refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from acestep_flows.cli import cli
from acestep_flows.errors import InputError
from acestep_flows.model.placement import Placement
from acestep_flows.stages.encode_audio import EncodeAudio
from acestep_flows.training import encode as job
from acestep_flows.training.data.encoded import EncodedSet
from acestep_flows.training.data.sources import open_source
from acestep_flows.training.encode import EncodeRecipe, encode
from tests.model.small import small_checkpoint, small_folder
from tests.training.data.test_song_sources import write_song


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


def test_latents_are_the_stages(recipe: EncodeRecipe, tmp_path: Path) -> None:
    told: list[tuple[int, int, int]] = []
    encode(recipe, tmp_path / "out", report=lambda *counts: told.append(counts))
    assert told == [(2, 3, 1), (3, 3, 1)]
    songs = EncodedSet(tmp_path / "out")
    assert [song.key for song in songs.songs] == ["a", "c"]
    assert [broken.key for broken in songs.broken] == ["b"]
    stage = EncodeAudio()
    stage.load(small_checkpoint(), Placement())
    audio = open_source(recipe.source).song(2).tracks["mix"]
    wanted = stage.run([EncodeAudio.In(audio)], [EncodeAudio.Params()])[0].latents.array
    np.testing.assert_allclose(songs.latents(1), wanted, atol=2e-3, rtol=1e-3)


def test_an_interrupted_run_goes_on(recipe: EncodeRecipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encode(recipe, out)
    kept = (out / "shard-00000.npy").stat().st_mtime_ns
    (out / "shard-00001.jsonl").unlink()
    told: list[tuple[int, int, int]] = []
    encode(recipe, out, report=lambda *counts: told.append(counts))
    assert told == [(3, 3, 0)]
    assert (out / "shard-00000.npy").stat().st_mtime_ns == kept
    assert len(EncodedSet(out)) == 2


def test_another_source_is_refused(recipe: EncodeRecipe, tmp_path: Path) -> None:
    encode(recipe, tmp_path / "out")
    other = recipe.model_copy(update={"dtype": "bfloat16"})
    with pytest.raises(InputError, match="another dtype"):
        encode(other, tmp_path / "out")


def test_command_lists_what_it_left_out(recipe: EncodeRecipe, tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe.model_dump_json())
    done = CliRunner().invoke(cli, ["encode", str(file), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "left out b" in done.output
    wrong = CliRunner().invoke(cli, ["encode", str(file), "--out", str(tmp_path / "x"), "--set", "source.paths=1"])
    assert wrong.exit_code != 0
    assert "paths" in wrong.output


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the library warns about its own settings
def test_several_processes_give_the_same(recipe: EncodeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "SHARD", 64)  # other processes do not see the small shards of these tests
    told: list[tuple[int, int, int]] = []
    encode(recipe, tmp_path / "here")
    encode(recipe, tmp_path / "there", workers=1, report=lambda *counts: told.append(counts))
    assert told == [(3, 3, 1)]
    here, there = (EncodedSet(tmp_path / name) for name in ("here", "there"))
    assert here.songs == there.songs
    np.testing.assert_allclose(here.latents(1), there.latents(1), atol=2e-3)
