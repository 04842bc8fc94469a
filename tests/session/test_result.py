"""What a run gives: outputs, seeds, files, and HTML for notebooks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from acestep_flows import Audio, Latents, Session
from acestep_flows.audio import read, tags
from acestep_flows.cli.main import cli
from acestep_flows.errors import InputError, NotFound
from acestep_flows.session import RunResult, SongAudio
from tests.session.songs import NESTING, SONG, WORDS


def test_a_result_holds_samples_latents_report_and_seeds(result: RunResult) -> None:
    assert isinstance(result.audio, Audio)
    assert result.audio.samples.dtype == np.float32
    assert result.audio.samples.shape == (2, round(result.audio.seconds * result.audio.sample_rate))
    assert result.audio.seconds == pytest.approx(1.0, abs=0.1)
    assert isinstance(result.latents, Latents)
    assert result["report"] is result.report is result.outputs["report"]
    assert result.report.entries["seed"] == result.seeds["noise.seed"] == result.inputs["seed"] == 7
    assert result.recipe.graph.name == result.graph == "text2music"
    assert repr(result).startswith("<RunResult of text2music: audio, latents, report, 0.9 s of audio; took ")
    assert "\n" not in repr(result) + repr(result.audio)
    assert {"audio", "latents", "save"} <= set(dir(result))


def test_times_of_lyrics_are_seen(result: RunResult) -> None:
    timed = dataclasses.replace(result, inputs={**result.inputs, "lyrics": "[00:01.50]la la"})
    assert timed.lyric_times == [(1.5, "la la")]
    assert dataclasses.replace(result, inputs={}).lyric_times == []


def test_an_output_that_is_not_there_is_named_with_those_that_are(result: RunResult) -> None:
    with pytest.raises(NotFound, match="no output 'latent', nearest 'latents'; allowed: audio, latents, report"):
        result["latent"]
    with pytest.raises(AttributeError, match="no output 'latent', nearest 'latents'"):
        result.latent  # noqa: B018
    assert not hasattr(result, "mel")


def test_a_drawn_seed_is_told_and_makes_the_same_song_again(session: Session) -> None:
    drawn = session.run("text2music", **WORDS, duration=1, steps=2)
    again = session.run("text2music", **drawn.inputs, cache="off")
    assert again.audio == drawn.audio
    assert again.seeds == drawn.seeds


def test_seeds_of_nested_graphs_are_given_back_too(session: Session) -> None:
    first = session.run(NESTING)
    assert "inner.seed" in first.inputs
    again = session.run(NESTING, inputs=first.inputs, cache="off")
    assert again.audio == first.audio


def test_the_same_seed_is_the_same_song_on_the_command_line(
    result: RunResult, small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    options = [word for name, value in SONG.items() for word in ("--set", f"{name}={value}")]
    place = ["--checkpoint", str(small_root), "--out", str(tmp_path / "cli"), "--name", "song", "--quiet"]
    done = CliRunner().invoke(cli, ["run", "text2music", *options, *place])
    assert done.exit_code == 0, done.output
    result.save(tmp_path / "python", name="song")
    ours, theirs = (read.audio(tmp_path / folder / "song.wav") for folder in ("python", "cli"))
    assert ours == theirs
    outputs = [json.loads((tmp_path / folder / "song.json").read_text())["outputs"] for folder in ("python", "cli")]
    assert outputs[0] == outputs[1]


def test_a_result_is_saved_to_a_folder_or_as_a_file(result: RunResult, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "songs", name="night", keep=["latents"])
    assert [path.name for path in folder] == ["night.wav", "night.png", "night-latents.safetensors", "night.json"]
    file = result.save(str(tmp_path / "songs" / "day.flac"))
    assert [path.name for path in file] == ["day.flac", "day.png", "day.json"]
    assert all(path.is_file() for path in folder + file)
    assert tags.read(folder[0]).recipe["graph"]["name"] == "text2music"
    named = result.save(tmp_path / "songs", name="dawn.MP3")
    assert [path.name for path in named] == ["dawn.mp3", "dawn.png", "dawn.json"]
    assert result.save(tmp_path / "take.2", name="v1.5")[0] == tmp_path / "take.2" / "v1.5.wav"
    unnamed = result.save(tmp_path, format="ogg")
    assert unnamed[0].suffix == ".ogg"
    assert unnamed[0].name.startswith("text2music-")


def test_a_song_is_saved_with_its_recipe(result: RunResult, tmp_path: Path) -> None:
    path = result.audio.save(tmp_path / "a.ogg")
    assert path == tmp_path / "a.ogg"
    assert tags.read(path).recipe["inputs"]["seed"] == 7
    assert tags.read(path).statement


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("a.aiff", {}, r"path: 'a.aiff': no aiff is written \(allowed: a name that ends in .wav, .flac"),
        ("songs", {"format": "aac"}, "format: no format 'aac'"),
        ("songs", {"keep": ["latent"]}, "keep: no output 'latent', nearest 'latents'"),
        ("songs", {"name": "../x"}, "name: '../x'"),
        ("songs", {"name": "x.m4a"}, "name: 'x.m4a': no m4a is written"),
        (
            "songs",
            {"name": "x.wav", "format": "mp3"},
            r"format: mp3 for files called 'x.wav' \(allowed: wav, or another name\)",
        ),
        ("a.wav", {"name": "x"}, "path: '.*a.wav' names the file, and so does name"),
        ("a.wav", {"format": "ogg"}, r"format: ogg for files called 'a.wav' \(allowed: wav, or another path\)"),
    ],
)
def test_what_cannot_be_saved_is_one_line(
    result: RunResult, tmp_path: Path, path: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        result.save(tmp_path / path, **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_refused(result: RunResult, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match=r"notes' is a file \(allowed: a folder, or an audio file\)"):
        result.save(tmp_path / "notes")


def test_a_notebook_gets_a_player_and_a_picture(result: RunResult) -> None:
    for shown in (result._repr_html_(), result.audio._repr_html_()):
        assert shown.count('<audio controls preload="metadata" src="data:audio/mpeg;base64,') == 1
        assert shown.count('src="data:image/png;base64,iVBOR') == 1
    assert "&lt;RunResult of text2music" in result._repr_html_()


def test_lists_of_songs_are_songs_too(session: Session) -> None:
    takes = session.run("batch-takes", **WORDS, duration=1, steps=1, seeds=[1, 2])
    assert [type(take) for take in takes.audio] == [SongAudio, SongAudio]
    assert takes._repr_html_().count("<audio ") == 2


def test_a_song_changed_by_hand_has_no_recipe(result: RunResult, tmp_path: Path) -> None:
    softer = dataclasses.replace(result.audio, samples=result.audio.samples * np.float32(0.5))
    assert isinstance(softer, SongAudio)
    assert softer.recipe is None
    np.testing.assert_array_equal(softer.samples, result.audio.samples * np.float32(0.5))
    assert tags.read(softer.save(tmp_path / "softer.wav")).recipe == {}
    slower = dataclasses.replace(result.audio, sample_rate=44_100)
    assert read.audio(slower.save(tmp_path / "slower.wav")).sample_rate == 44_100
    assert slower.seconds > result.audio.seconds


def test_warnings_of_the_outputs_are_there_and_logged(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    silence = Audio(np.zeros((2, 48_000), np.float32), 48_000)
    cut = """
graph: cut
version: 1
inputs: {audio: {type: audio}}
nodes: {part: {stage: trim, with: {audio: $audio, span: [0, 0.5]}}}
outputs: {audio: $part.audio}
"""
    silent = session.run(cut, audio=silence)
    assert silent.warnings == ("output audio is silent",)
    assert caplog.text.count("output audio is silent") == 1


def test_a_song_shorter_than_asked_says_so(result: RunResult) -> None:
    assert result.inputs["duration"] == 1
    assert result.warnings == ("0.93 s of the 1 s asked, in whole frames; exact_length=true makes all of it",)
