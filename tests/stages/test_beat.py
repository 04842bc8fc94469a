"""The stage `beat`, and songs that play to a beat where the model's checkpoint says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.errors import CheckpointError, InputError
from acestep_flows.model.beat_conditioning import FILE, beat_conditioning
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.stages.registry import stages
from acestep_flows.stages.sample import Sample
from acestep_flows.values import Audio
from tests.stages.material import latents, tone
from tests.stages.running import run


@pytest.fixture(scope="module")
def beating(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The small checkpoint with a model that plays to a beat through `stemgen`."""
    folder = tmp_path_factory.mktemp("beating") / "checkpoint"
    shutil.copytree(small_root, folder)
    (folder / FILE).write_text(json.dumps({"control_branch": "stemgen", "pattern": "pulse"}))
    return Checkpoint.open(folder)


def beat(small: Checkpoint, inputs: dict[str, Any] | None = None, **params: Any) -> Any:
    return run("beat", small, params, **(inputs or {}))


def test_the_tempo_is_that_of_the_tags(small: Checkpoint) -> None:
    told, asked = beat(small, tags="rock, 120 bpm", seconds=2.0), beat(small, tempo=120, pattern="rock", seconds=2.0)
    assert told.audio == asked.audio
    assert told.latents.frames == 22
    assert told.report.entries["tempo"] == 120
    assert told.report.entries["pattern"] == "rock"
    assert beat(small, tempo=90, tags="120 bpm", seconds=1.0).report.entries["tempo"] == 90


def test_lengths(small: Checkpoint) -> None:
    noise = run("init_noise", small, {"seed": 1, "duration": 2.0}).noise
    assert beat(small, {"noise": noise}, tempo=100).latents.frames == noise.array.shape[-1]
    over = beat(small, {"over": tone(1.5, sample_rate=44_100)}, tempo=100, seconds=30)
    assert over.audio.seconds == pytest.approx(1.5, abs=1e-3)
    assert over.audio != beat(small, tempo=100, seconds=1.5).audio, "both are heard"


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"tags": "rock", "seconds": 1.0}, "no tempo in the tags"),
        ({"tags": "120 bpm, 90 bpm", "seconds": 1.0}, r"2 tempos \(120, 90 bpm\)"),
        ({"tags": "20 bpm", "seconds": 1.0}, "20 bpm.*30 to 300"),
        ({"tags": "301 bpm", "seconds": 1.0}, "301 bpm.*30 to 300"),
        ({"tempo": 100.0}, "no length"),
        ({"tempo": 100.0, "pattern": "waltz", "seconds": 1.0}, "pattern 'waltz'"),
    ],
)
def test_what_says_no_beat_is_refused(small: Checkpoint, params: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        beat(small, **params)


@pytest.mark.parametrize("tempo", [29.9, 300.1])
def test_tempos_out_of_range_are_refused_before_a_run(tempo: float) -> None:
    with pytest.raises(ValueError, match="tempo"):
        stages()["beat"].Params.model_validate({"tempo": tempo})


def test_a_loop_is_repeated_to_the_length_and_cut_there(small: Checkpoint) -> None:
    loop = Audio(beat(small, tempo=120, seconds=0.5).audio.samples, 44_100)
    short = beat(small, {"loop": loop}, seconds=1.75)
    assert short.audio.samples.shape == (2, round(1.75 * 44_100))
    np.testing.assert_allclose(short.audio.samples[:, 22_050:44_100], loop.samples, atol=1e-6)
    assert short.report.entries["repeats"] == 3.5
    assert beat(small, {"loop": loop}, seconds=0.25).audio.seconds == pytest.approx(0.25)


def test_silence_and_blips_are_no_guide(small: Checkpoint) -> None:
    with pytest.raises(InputError, match="guide: silence"):
        beat(small, {"loop": Audio(np.zeros((2, 44_100), np.float32), 44_100)}, seconds=2.0)
    with pytest.raises(InputError, match="guide: 0.05 s"):
        beat(small, {"loop": tone(0.05)}, seconds=2.0)


def song(checkpoint: Checkpoint, tags: str, control: Any = None, **params: Any) -> Any:
    prompt = run("encode_prompt", checkpoint, {"tags": tags}).prompt
    lyrics = run("encode_lyrics", checkpoint, {"lyrics": ""}).lyrics
    noise = run("init_noise", checkpoint, {"seed": 5, "duration": 2.0}).noise
    ports = {"prompt": prompt, "lyrics": lyrics, "noise": noise, "control": control}
    return run("sample", checkpoint, {"steps": 2, **params}, **ports)


def test_a_model_made_for_it_plays_to_the_tempo_of_its_tags(beating: Checkpoint) -> None:
    plain, played = song(beating, "pop, 120 bpm"), song(beating, "pop, 120 bpm", beat="auto")
    assert played.latents != plain.latents
    assert played.report.entries["beat"] == {"tempo": 120.0, "control_branch": "stemgen"}
    assert "beat" not in plain.report.entries
    track = beat(beating, tempo=120, pattern="pulse", seconds=21 * 4096 / 44_100)
    by_hand = song(beating, "pop, 120 bpm", track.latents, control_branch="stemgen")
    assert by_hand.latents == played.latents, "the beat is that of the stage `beat`"
    assert song(beating, "pop, 120 bpm", beat="click").latents != played.latents


def test_without_a_tempo_that_can_be_played_the_song_is_the_one_without_a_beat(beating: Checkpoint) -> None:
    assert song(beating, "pop", beat="auto").latents == song(beating, "pop").latents
    slow = song(beating, "pop, 20 bpm", beat="auto")
    assert slow.latents == song(beating, "pop, 20 bpm").latents
    assert "20 bpm is played without a beat" in slow.report.entries["warnings"][0]


def test_of_two_tempos_the_first_counts_and_is_told(beating: Checkpoint) -> None:
    two = song(beating, "pop, 120 bpm, 90 bpm", beat="auto")
    assert two.report.entries["beat"]["tempo"] == 120
    assert "not 90" in two.report.entries["warnings"][0]


def test_a_guide_takes_the_place_of_the_beat(beating: Checkpoint, small: Checkpoint) -> None:
    guided = song(beating, "pop, 120 bpm", latents(21, 1), beat="auto")
    assert guided.latents == song(beating, "pop, 120 bpm", latents(21, 1), control_branch="stemgen").latents
    with pytest.raises(InputError, match="guide: this model cannot follow a guide"):
        song(small, "pop", latents(21), beat="auto")


def test_other_models_are_untouched(small: Checkpoint, beating: Checkpoint) -> None:
    assert song(small, "pop, 120 bpm", beat="auto").latents == song(small, "pop, 120 bpm").latents
    asked, plain = Sample.Params(beat="auto"), Sample.Params()
    assert asked.key_content() == plain.key_content()
    assert Sample.weights(small, asked) == Sample.weights(small, plain) == Sample.weights(beating, plain)
    assert len({Sample.weights(beating, Sample.Params(beat=name)) for name in ("none", "auto", "click")}) == 3
    assert Sample.notes(small, Sample.Params(beat="click")) == (
        "beat: this model follows no beat, so 'click' changes nothing",
    )
    assert not Sample.notes(small, asked)
    assert not Sample.notes(beating, Sample.Params(beat="click"))


@pytest.mark.parametrize("content", ["[", "{}", '{"control_branch": "x", "scale": 99}'])
def test_an_unusable_file_is_told(tmp_path: Path, small_root: Path, content: str) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(small_root, folder)
    (folder / FILE).write_text(content)
    with pytest.raises(CheckpointError, match=FILE):
        beat_conditioning(Checkpoint.open(folder))
