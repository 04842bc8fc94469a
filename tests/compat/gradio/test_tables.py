"""Every parameter of v1's page: what is sent becomes an input, a warning or a refusal, in every order of arguments."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.fields import Draft, SongRequest
from acestep_flows.compat.given_audio import GivenAudio
from acestep_flows.compat.gradio.functions import CALL, EDIT, EXTEND, FUNCTIONS, REPAINT, RETAKE, Function, arguments
from acestep_flows.compat.gradio.songs import song_of
from acestep_flows.compat.gradio.tables import ROWS
from acestep_flows.errors import InputError

NANO = ModelCard("acestep-nano", sampling={"guidance": "cfg", "guidance_scale": 3.0, "guidance_interval": 1.0})
SOURCE = GivenAudio("source_audio", "asset-1", 20.0)
SONG = {"prompt": "lofi, piano", "lyrics": "[verse]\nrain", "audio_duration": 10, "actual_seeds": [7], "infer_step": 27}


def song_by_name(function: Function = CALL, source: GivenAudio | None = None, **sent: Any) -> SongRequest:
    """A call as a client makes it: it fills in the defaults."""
    data = [sent.get(name, default) for name, default in function.parameters.items()]
    assert sent.keys() <= function.parameters.keys()
    return song_of(function, arguments(function, data), Draft(model=NANO), source).song()


def call(**sent: Any) -> SongRequest:
    return song_by_name(**{"audio_duration": 10, "prompt": "lofi", **sent})


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({"audio_duration": 12.5}, {"duration": 12.5}),
        ({"prompt": "lofi, 夜"}, {"tags": "lofi, 夜"}),
        ({"lyrics": "[verse]\n雨 \n"}, {"lyrics": "[verse]\n雨 \n"}),
        ({"infer_step": 27}, {"steps": 27}),
        ({"infer_step": "27"}, {"steps": 27}),
        ({"guidance_scale": 7.5}, {"guidance_scale": 7.5}),
        ({"scheduler_type": "heun"}, {"solver": "heun"}),
        ({"cfg_type": "cfg"}, {"guidance": "cfg"}),
        ({"omega_scale": 8}, {"omega": 8.0}),
        ({"manual_seeds": "7"}, {"seed": 7}),
        ({"manual_seeds": 7}, {"seed": 7}),
        ({"manual_seeds": "[42]"}, {"seed": 42}),
        ({"manual_seeds": [7]}, {"seed": 7}),
        ({"guidance_interval": 1}, {"guidance_interval": 1.0}),
        ({"guidance_interval_decay": 0.5}, {"guidance_decay": 0.5}),
        ({"min_guidance_scale": 2}, {"guidance_minimum": 2.0}),
        ({"use_erg_tag": False}, {"erg_tag": False}),
        ({"use_erg_lyric": True}, {"erg_lyric": True}),
        ({"use_erg_diffusion": "false"}, {"erg_diffusion": False}),
        ({"oss_steps": "1, 5, 10"}, {"oss_steps": [1, 5, 10]}),
        ({"oss_steps": [2]}, {"oss_steps": [2]}),
        ({"guidance_scale_text": 5}, {"guidance_scale_text": 5.0}),
        ({"guidance_scale_lyric": 1.5}, {"guidance_scale_lyric": 1.5}),
        ({"lora_name_or_path": "rap", "lora_weight": 0.5}, {"adapter": "rap", "adapter_weight": 0.5}),
        ({"lora_name_or_path": "rap"}, {"adapter": "rap"}),
    ],
)
def test_a_parameter_becomes_an_input(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = call(**sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert song.graph == "text2music"


def test_a_default_counts_as_not_sent() -> None:
    song = call()
    assert song.inputs == {"tags": "lofi", "lyrics": "", "duration": 10.0}
    assert (song.warnings, song.format) == ((), "wav")
    texts = {name: str(value) for name, value in CALL.parameters.items() if isinstance(value, (int, float))}
    assert call(**{**texts, "audio_duration": "10"}) == song


@pytest.mark.parametrize("value", [None, "", "-1", -1, "None"])
def test_no_seed_draws_one(value: Any) -> None:
    assert "seed" not in call(manual_seeds=value).inputs


def test_several_seeds_are_several_takes() -> None:
    song = call(manual_seeds="1,2")
    assert (song.graph, song.inputs["seeds"]) == ("batch-takes", [1, 2])


@pytest.mark.parametrize("value", [-1, 0, None])
def test_a_length_that_is_not_given_is_drawn(value: Any) -> None:
    song = call(audio_duration=value)
    assert 30 <= song.inputs["duration"] <= 240
    assert "s were drawn" in song.warnings[0]


@pytest.mark.parametrize("format", ["wav", "mp3", "flac", "ogg"])
def test_the_format_is_that_of_the_file(format: str) -> None:
    assert call(format=format).format == format


OWN_ORDER = [10, "lofi", "la", 27, 4.0, "heun", "cfg", 8, "7", 1, 0.5, 2, False, True, False, "1,5", 5, 1.5]
V1_INPUTS = {"duration": 10.0, "tags": "lofi", "lyrics": "la", "steps": 27, "guidance_scale": 4.0, "solver": "heun"}


def read(data: list[Any]) -> SongRequest:
    return song_of(CALL, arguments(CALL, data), Draft(model=NANO)).song()


def filled(data: list[Any], **named: Any) -> list[Any]:
    """Positions as a client sends them: the rest is filled in by its names."""
    rest = list(CALL.parameters.items())[len(data) :]
    return [*data, *(named.get(name, default) for name, default in rest)]


@pytest.mark.parametrize("count", range(3, len(OWN_ORDER) + 1))
def test_arguments_come_by_position(count: int) -> None:
    """Without a format, with one first, alone or with the rest filled in: the same song."""
    by_name: dict[str, Any] = dict(zip(CALL.parameters, OWN_ORDER[:count], strict=False))
    expected = song_by_name(**by_name, format="flac")
    own, v1 = OWN_ORDER[:count], ["flac", *OWN_ORDER[:count]]
    assert read(filled(own, format="flac")) == expected
    assert read(v1) == expected
    if count not in (13, 14):  # the last one is what a client fills in there
        assert read(filled(v1)) == expected


def test_all_arguments_come_by_position() -> None:
    for audio in ([False, 0.5, None], [True, 0.3, None]):
        rest = [*audio, "rap", 0.5]
        assert read(["mp3", *OWN_ORDER, *rest]) == read([*OWN_ORDER, *rest, "mp3"])


def test_names_follow_positions() -> None:
    data = filled(["mp3", 10, "lofi", "la"], manual_seeds="7", use_erg_tag=False)
    assert read(data) == song_by_name(
        audio_duration=10, prompt="lofi", lyrics="la", manual_seeds="7", use_erg_tag=False, format="mp3"
    )


def test_values_that_are_the_default_of_another_place_are_not_lost() -> None:
    """A number of steps that is also the default of the guidance scale, which has its place in the other order."""
    assert read(filled(["wav", 10, "lofi", "la", 15])).inputs["steps"] == 15
    assert read(["wav", 10, "lofi", "la", 27, 4.0, "euler", "cfg", 8, None, 0.0, *OWN_ORDER[10:]]).inputs["steps"] == 27


@pytest.mark.parametrize("data", [None, {}, "x", [1] * 25])
def test_what_are_no_arguments_is_refused(data: Any) -> None:
    with pytest.raises(InputError, match="^data: "):
        arguments(CALL, data)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"audio_duration": 241}, "audio_duration"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"lyrics": {}}, "lyrics"),
        ({"infer_step": 0}, "infer_step"),
        ({"guidance_scale": 31}, "guidance_scale"),
        ({"scheduler_type": "dpm"}, "scheduler_type"),
        ({"cfg_type": "none"}, "cfg_type"),
        ({"omega_scale": 101}, "omega_scale"),
        ({"manual_seeds": "x"}, "manual_seeds"),
        ({"guidance_interval": 2}, "guidance_interval"),
        ({"guidance_interval_decay": -1}, "guidance_interval_decay"),
        ({"min_guidance_scale": 201}, "min_guidance_scale"),
        ({"use_erg_tag": "perhaps"}, "use_erg_tag"),
        ({"use_erg_lyric": 2}, "use_erg_lyric"),
        ({"use_erg_diffusion": []}, "use_erg_diffusion"),
        ({"oss_steps": "0"}, "oss_steps"),
        ({"guidance_scale_text": 11}, "guidance_scale_text"),
        ({"guidance_scale_lyric": -1}, "guidance_scale_lyric"),
        ({"audio2audio_enable": "perhaps"}, "audio2audio_enable"),
        ({"ref_audio_strength": 2}, "ref_audio_strength"),
        ({"lora_name_or_path": []}, "lora_name_or_path"),
        ({"lora_weight": 11}, "lora_weight"),
        ({"format": "aac"}, "format"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        call(**sent)
    assert refused.value.field == field
    assert refused.value.allowed


def test_a_song_near_a_reference() -> None:
    sent = {"prompt": "jazz", "audio2audio_enable": True, "audio_duration": 10, "manual_seeds": "1,2"}
    song = song_by_name(CALL, SOURCE, **sent)
    assert (song.graph, song.inputs["reference"], song.inputs["strength"]) == ("audio2audio", "asset-1", 0.5)
    assert song.inputs["seed"] == 1
    assert "duration" not in song.inputs
    assert [line.partition(":")[0] for line in song.warnings] == ["audio_duration=10", "manual_seeds=a list of 2"]


@pytest.mark.parametrize(
    ("sent", "source", "said"),
    [
        ({"audio2audio_enable": True}, None, "audio2audio_enable=true: not used without ref_audio_input"),
        ({}, SOURCE, "source_audio=text 'asset-1': not used without audio2audio_enable"),
        ({"ref_audio_strength": 0.3}, None, "ref_audio_strength=0.3: not used without ref_audio_input"),
        ({"guidance_scale": 7}, None, "guidance_scale=7: used; this model's own value is 3"),
        ({"prompt": "", "lyrics": "la"}, None, "prompt=text '': no tags were given"),
        ({"lora_weight": 0.5}, None, "lora_weight=0.5: not used without lora_name_or_path"),
    ],
)
def test_what_is_done_otherwise_is_told(sent: dict[str, Any], source: GivenAudio | None, said: str) -> None:
    song = song_by_name(CALL, source, **{"audio_duration": 10, "prompt": "lofi", **sent})
    assert [line for line in song.warnings if line.startswith(said)], song.warnings


@pytest.mark.parametrize("json_data", [SONG, json.dumps(SONG)])
def test_a_retake_takes_all_from_the_song(json_data: Any) -> None:
    song = song_by_name(RETAKE, json_data=json_data, retake_seeds="8", retake_variance=0.3)
    assert song.graph == "retake"
    assert song.inputs == {
        "tags": "lofi, piano",
        "lyrics": "[verse]\nrain",
        "duration": 10.0,
        "steps": 27,
        "seed": 7,
        "retake_seed": 8,
        "variance": 0.3,
    }


@pytest.mark.parametrize(
    ("sent", "span"),
    [
        ({}, [0.0, None]),
        ({"repaint_start": 3, "repaint_end": 8}, [3.0, 8.0]),
        ({"repaint_start": 3, "repaint_end": 25}, [3.0, None]),
    ],
)
def test_a_span_is_repainted(sent: dict[str, Any], span: list[Any]) -> None:
    song = song_by_name(REPAINT, SOURCE, json_data=SONG, prompt="jazz", retake_seeds=[9], **sent)
    assert song.graph == "repaint"
    inputs = {
        "source": "asset-1",
        "span": span,
        "tags": "jazz",
        "lyrics": "[verse]\nrain",
        "variance": 0.2,
        "steps": 27,
    }
    assert song.inputs == inputs | {"variance": 0.2, "seed": 7, "retake_seed": 9}
    assert bool(song.warnings) == (sent.get("repaint_end") == 25)


def test_a_span_of_a_long_song_ends_where_the_page_ends_it() -> None:
    song = song_by_name(REPAINT, GivenAudio("json_data", "asset-1", 60.0, "asset-2"), json_data=SONG)
    assert (song.inputs["span"], song.inputs["sound"]) == ([0.0, 30.0], "asset-2")


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({}, {"minimum": 0.6, "maximum": 1.0, "new_tags": "lofi, piano", "new_lyrics": "[verse]\nrain"}),
        ({"edit_type": "remix", "edit_prompt": "jazz"}, {"minimum": 0.2, "maximum": 0.4, "new_tags": "jazz"}),
        ({"edit_lyrics": "la", "edit_n_min": 0.5, "edit_n_max": 0.9}, {"minimum": 0.5, "maximum": 0.9}),
        ({"edit_seeds": "3"}, {"seed": 3, "source": "asset-1", "tags": "lofi, piano"}),
        ({"prompt": "rock", "lyrics": "lu"}, {"tags": "rock", "lyrics": "lu", "new_tags": "rock", "new_lyrics": "lu"}),
    ],
)
def test_a_song_is_edited(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = song_by_name(EDIT, SOURCE, json_data=SONG, **sent)
    assert song.graph == "edit"
    assert {name: song.inputs.get(name) for name in inputs} == inputs


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({}, {"left": 0.0, "right": 30.0, "source": "asset-1", "seed": 7}),
        ({"left_extend_length": 2, "right_extend_length": 0}, {"left": 2.0, "right": 0.0}),
        ({"extend_seeds": "4", "manual_seeds": "5"}, {"retake_seed": 4, "seed": 5}),
        ({"infer_step": 10, "format": "mp3"}, {"steps": 10}),
    ],
)
def test_a_song_is_extended(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = song_by_name(EXTEND, SOURCE, json_data=SONG, **sent)
    assert (song.graph, song.format) == ("extend", sent.get("format", "wav"))
    assert {name: song.inputs.get(name) for name in inputs} == inputs


@pytest.mark.parametrize(
    ("function", "sent", "field"),
    [
        (RETAKE, {}, "prompt"),
        (RETAKE, {"json_data": "{"}, "json_data"),
        (RETAKE, {"json_data": {"prompt": "x"}}, "json_data"),
        (RETAKE, {"json_data": SONG, "retake_variance": 2}, "retake_variance"),
        (RETAKE, {"json_data": SONG, "retake_seeds": "x"}, "retake_seeds"),
        (RETAKE, {"json_data": {**SONG, "infer_step": 0}}, "infer_step"),
        (REPAINT, {"json_data": SONG, "repaint_start": 9, "repaint_end": 8}, "repaint_start"),
        (REPAINT, {"json_data": SONG, "repaint_start": 21}, "repaint_start"),
        (REPAINT, {"json_data": SONG, "repaint_end": 300}, "repaint_end"),
        (EDIT, {"json_data": SONG, "edit_type": "all"}, "edit_type"),
        (EDIT, {"json_data": SONG, "edit_n_min": 2}, "edit_n_min"),
        (EDIT, {"json_data": SONG, "edit_n_max": "x"}, "edit_n_max"),
        (EDIT, {"json_data": SONG, "edit_prompt": []}, "edit_prompt"),
        (EDIT, {"json_data": SONG, "edit_lyrics": []}, "edit_lyrics"),
        (EDIT, {"json_data": SONG, "edit_seeds": "x"}, "edit_seeds"),
        (EXTEND, {"json_data": SONG, "extend_seeds": "x"}, "extend_seeds"),
        (EXTEND, {"json_data": SONG, "left_extend_length": -1}, "left_extend_length"),
        (EXTEND, {"json_data": SONG, "right_extend_length": 240}, "right_extend_length"),
    ],
)
def test_an_edit_refuses_by_name(function: Function, sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        song_by_name(function, SOURCE, **sent)
    assert refused.value.field == field
    assert refused.value.allowed


@pytest.mark.parametrize("function", [REPAINT, EDIT, EXTEND])
def test_an_edit_without_a_song_is_refused(function: Function) -> None:
    with pytest.raises(InputError, match=r"^source_audio: "):
        song_by_name(function, json_data=SONG)


def test_a_retake_of_an_edit_is_told() -> None:
    song = song_by_name(RETAKE, json_data={**SONG, "task": "edit"})
    assert [line for line in song.warnings if line.startswith("json_data=text 'edit': ")]


def test_every_parameter_has_a_row() -> None:
    rows = {row.name for row in ROWS} | {"json_data", "source_audio", "ref_audio_input"}
    assert {name for function in FUNCTIONS for name in function.parameters} == rows


def test_every_row_ends_somewhere() -> None:
    from pathlib import Path

    from acestep_flows.compat.gradio import songs

    text = Path(str(songs.__file__)).read_text()
    assert [row.name for row in ROWS if not row.becomes and f'"{row.name}"' not in text] == []
