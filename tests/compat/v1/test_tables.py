"""Every field of v1's REST: what is sent becomes an input, a warning or a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.fields import Draft, SongRequest
from acestep_flows.compat.v1.tables import INFER, TRAINER, file_stem, infer_song, is_trainer, trainer_song
from acestep_flows.errors import InputError
from tests.compat.v1.bodies import infer, trainer

NANO = ModelCard("acestep-nano", sampling={"guidance": "cfg", "guidance_scale": 3.0, "guidance_interval": 1.0})


def infer_of(**changes: Any) -> SongRequest:
    return infer_song(infer(**changes), Draft()).song()


def trainer_of(**changes: Any) -> SongRequest:
    return trainer_song(trainer(**changes), Draft()).song()


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({"audio_duration": 12.5}, {"duration": 12.5}),
        ({"audio_duration": "12"}, {"duration": 12.0}),
        ({"prompt": "lofi, 90 bpm"}, {"tags": "lofi, 90 bpm"}),
        ({"lyrics": "[verse]\n夜の雨\n"}, {"lyrics": "[verse]\n夜の雨\n"}),
        ({"infer_step": 27}, {"steps": 27}),
        ({"infer_step": "27.0"}, {"steps": 27}),
        ({"guidance_scale": 7.5}, {"guidance_scale": 7.5}),
        ({"scheduler_type": "heun"}, {"solver": "heun"}),
        ({"scheduler_type": "PingPong"}, {"solver": "pingpong"}),
        ({"cfg_type": "cfg_star"}, {"guidance": "cfg_star"}),
        ({"omega_scale": -3}, {"omega": -3.0}),
        ({"actual_seeds": [42]}, {"seed": 42}),
        ({"actual_seeds": 42}, {"seed": 42}),
        ({"actual_seeds": "42"}, {"seed": 42}),
        ({"guidance_interval": 0.25}, {"guidance_interval": 0.25}),
        ({"guidance_interval_decay": 0.5}, {"guidance_decay": 0.5}),
        ({"min_guidance_scale": 2}, {"guidance_minimum": 2.0}),
        ({"use_erg_tag": False}, {"erg_tag": False}),
        ({"use_erg_lyric": "false"}, {"erg_lyric": False}),
        ({"use_erg_diffusion": 1}, {"erg_diffusion": True}),
        ({"oss_steps": [1, 5, 10]}, {"oss_steps": [1, 5, 10]}),
        ({"guidance_scale_text": 5}, {"guidance_scale_text": 5.0}),
        ({"guidance_scale_lyric": 1.5}, {"guidance_scale_lyric": 1.5}),
    ],
)
def test_a_field_of_infer_api_becomes_an_input(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = infer_of(**sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert song.graph == "text2music"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (
            {"checkpoint_path": "/models/mine"},
            "checkpoint_path=text '/models/mine': the weights of this server are used",
        ),
        ({"bf16": False}, "bf16=false: the operator sets the precision"),
        ({"torch_compile": True}, "torch_compile=true: not compiled"),
        ({"device_id": 3}, "device_id=3: the operator chooses the device"),
        ({"output_path": "/etc/song.wav"}, "output_path=text '/etc/song.wav': nothing is written there"),
        ({"output_path": "song.aac"}, "output_path=text 'song.aac': wav is made"),
        ({"audio_duration": 0}, "audio_duration=0: "),
        ({"prompt": "", "lyrics": "[verse]\nrain"}, "prompt=text '': no tags were given; 'song' is used"),
        ({"retake_seeds": [3]}, "retake_seeds=a list of 1: not known here, ignored"),
    ],
)
def test_what_is_done_otherwise_is_told(sent: dict[str, Any], said: str) -> None:
    assert [line for line in infer_of(**sent).warnings if line.startswith(said)]


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"audio_duration": 241}, "audio_duration"),
        ({"audio_duration": "long"}, "audio_duration"),
        ({"infer_step": 0}, "infer_step"),
        ({"infer_step": 27.5}, "infer_step"),
        ({"guidance_scale": 31}, "guidance_scale"),
        ({"guidance_scale": "nan"}, "guidance_scale"),
        ({"scheduler_type": "dpm"}, "scheduler_type"),
        ({"cfg_type": "none"}, "cfg_type"),
        ({"omega_scale": 101}, "omega_scale"),
        ({"actual_seeds": ["x"]}, "actual_seeds"),
        ({"actual_seeds": [2**64]}, "actual_seeds"),
        ({"guidance_interval": 2}, "guidance_interval"),
        ({"guidance_interval_decay": -1}, "guidance_interval_decay"),
        ({"min_guidance_scale": 201}, "min_guidance_scale"),
        ({"use_erg_tag": "perhaps"}, "use_erg_tag"),
        ({"use_erg_lyric": 2}, "use_erg_lyric"),
        ({"use_erg_diffusion": []}, "use_erg_diffusion"),
        ({"oss_steps": [0]}, "oss_steps"),
        ({"guidance_scale_text": 11}, "guidance_scale_text"),
        ({"guidance_scale_lyric": -1}, "guidance_scale_lyric"),
        ({"bf16": "half"}, "bf16"),
        ({"torch_compile": "later"}, "torch_compile"),
        ({"device_id": "cuda"}, "device_id"),
        ({"checkpoint_path": {}}, "checkpoint_path"),
        ({"output_path": ["a"]}, "output_path"),
        ({"prompt": "", "lyrics": ""}, "prompt"),
        ({"lyrics": ["a"]}, "lyrics"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        infer_of(**sent)
    assert refused.value.field == field
    assert refused.value.allowed


def test_every_required_field_is_named_when_it_is_missing() -> None:
    with pytest.raises(InputError) as refused:
        infer_song({"lyrics": ""}, Draft())
    assert [fault.field for fault in refused.value.faults] == [
        row.name for row in INFER if row.required and row.name != "lyrics"
    ]


def test_several_seeds_are_several_takes() -> None:
    song = infer_of(actual_seeds=[1, -1, 3])
    assert song.graph == "batch-takes"
    assert song.inputs["seeds"] == [1, "random", 3]
    assert "seed" not in song.inputs


def test_no_seed_is_drawn_by_the_run() -> None:
    assert "seed" not in infer_of(actual_seeds=[]).inputs
    assert "seed" not in trainer_of(seed=-1).inputs


def test_a_length_of_zero_is_drawn() -> None:
    assert 30 <= infer_of(audio_duration=-1).inputs["duration"] <= 240


@pytest.mark.parametrize(
    ("path", "format", "stem"),
    [("/x/y/song.MP3", "mp3", "song"), (r"C:\out\a.flac", "flac", "a"), ("song", "wav", "song"), ("", "wav", "")],
)
def test_the_last_part_of_output_path_names_the_file(path: str, format: str, stem: str) -> None:
    draft = infer_song(infer(output_path=path), Draft())
    assert (draft.song().format, file_stem(draft)) == (format, stem)


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({}, {"duration": 240.0}),
        ({"duration": 20}, {"duration": 20.0}),
        ({"infer_steps": 10}, {"steps": 10}),
        ({"guidance_scale": 5}, {"guidance_scale": 5.0}),
        ({"omega_scale": 8}, {"omega": 8.0}),
        ({"seed": 9}, {"seed": 9}),
        ({"prompt": "rock"}, {"tags": "rock"}),
    ],
)
def test_a_field_of_trainer_api_becomes_an_input(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = trainer_of(**sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"duration": 0}, "duration"),
        ({"infer_steps": 999}, "infer_steps"),
        ({"seed": "x"}, "seed"),
        ({"prompt": None}, "prompt"),
    ],
)
def test_trainer_api_refuses_by_name(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        trainer_of(**sent)
    assert refused.value.field == field


def test_a_value_that_is_not_sent_is_the_models_own() -> None:
    song = trainer_song(trainer(), Draft(model=NANO)).song()
    assert not song.inputs.keys() & {"guidance", "guidance_scale", "guidance_interval", "omega"}
    assert song.warnings == ()


def test_a_value_beside_the_models_own_is_used_and_told() -> None:
    song = infer_song(infer(guidance_scale=15, cfg_type="cfg", guidance_interval=1), Draft(model=NANO)).song()
    assert song.inputs["guidance_scale"] == 15
    assert [line for line in song.warnings if "own value" in line] == [
        "guidance_scale=15: used; this model's own value is 3"
    ]


def test_the_two_servers_are_told_apart() -> None:
    assert is_trainer(trainer())
    assert not is_trainer(infer())
    assert not is_trainer({"prompt": "x", "lyrics": "", "infer_steps": 3})


@pytest.mark.parametrize("table", [INFER, TRAINER])
def test_every_row_ends_somewhere(table: Any) -> None:
    assert [row.name for row in table if not (row.becomes or row.ignored or row.refused)] == []
