"""Every field of fal's applications: what is sent becomes an input of a graph, a warning or a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.fal.songs import read_fields, settle
from acestep_flows.compat.fields import Draft, SongRequest
from acestep_flows.errors import InputError

NANO = ModelCard("acestep-nano", sampling={"guidance": "cfg", "guidance_scale": 3.0, "guidance_interval": 1.0})
BASE, PROMPT, EDIT, INPAINT, OUTPAINT = "", "prompt-to-audio", "audio-to-audio", "audio-inpaint", "audio-outpaint"
SECONDS = 20.0
"""Length of the source."""

SENT: dict[str, dict[str, Any]] = {
    BASE: {"tags": "lofi"},
    PROMPT: {"prompt": "lofi", "instrumental": True},
    EDIT: {"audio_url": "asset", "original_tags": "lofi", "tags": "jazz"},
    INPAINT: {"audio_url": "asset", "tags": "lofi", "end_time": 10},
    OUTPAINT: {"audio_url": "asset", "tags": "lofi"},
}
GRAPHS = {BASE: "text2music", PROMPT: "text2music", EDIT: "remix", INPAINT: "repaint", OUTPAINT: "extend"}


def song_of(app: str, **fields: Any) -> SongRequest:
    return settle(app, read_fields(app, {**SENT[app], **fields}, Draft(model=NANO)), SECONDS).song()


SETTINGS = [
    ({"number_of_steps": 3}, {"steps": 3}),
    ({"number_of_steps": "60"}, {"steps": 60}),
    ({"seed": 0}, {"seed": 0}),
    ({"scheduler": "euler"}, {"solver": "euler"}),
    ({"scheduler": "pingpong"}, {"solver": "pingpong"}),
    ({"guidance_type": "cfg_star"}, {"guidance": "cfg_star"}),
    ({"granularity_scale": 10}, {"omega": 10}),
    ({"guidance_interval": 0.5}, {"guidance_interval": 0.5}),
    ({"guidance_interval_decay": 0.2}, {"guidance_decay": 0.2}),
    ({"guidance_scale": 15}, {"guidance_scale": 15}),
    ({"minimum_guidance_scale": 3}, {"guidance_minimum": 3}),
    ({"tag_guidance_scale": 5}, {"guidance_scale_text": 5}),
    ({"lyric_guidance_scale": 1.5}, {"guidance_scale_lyric": 1.5}),
]


@pytest.mark.parametrize("app", GRAPHS)
@pytest.mark.parametrize(("sent", "inputs"), SETTINGS)
def test_a_setting_becomes_an_input_of_every_application(app: str, sent: Any, inputs: dict[str, Any]) -> None:
    song = song_of(app, **sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert song.graph == GRAPHS[app]


@pytest.mark.parametrize(
    ("app", "sent", "inputs"),
    [
        (BASE, {"tags": "夜"}, {"tags": "夜"}),
        (BASE, {"lyrics": "[verse]\n雨 \n"}, {"lyrics": "[verse]\n雨 \n"}),
        (BASE, {"duration": 5}, {"duration": 5}),
        (BASE, {}, {"duration": 60}),
        (PROMPT, {"prompt": "a calm song"}, {"tags": "a calm song", "lyrics": "[inst]"}),
        (PROMPT, {"instrumental": False}, {"lyrics": ""}),
        (PROMPT, {"duration": 240}, {"duration": 240}),
        (EDIT, {}, {"source": "asset", "tags": "lofi", "new_tags": "jazz", "lyrics": ""}),
        (EDIT, {"original_lyrics": "la", "lyrics": "la"}, {"lyrics": "la"}),
        (EDIT, {"original_seed": 7}, {"seed": 7}),
        (EDIT, {"original_seed": 7, "seed": 8}, {"seed": 7}),
        (EDIT, {"seed": 8}, {"seed": 8}),
        (INPAINT, {}, {"source": "asset", "tags": "lofi", "span": [0, 10]}),
        (INPAINT, {"lyrics": "la"}, {"lyrics": "la"}),
        (INPAINT, {"start_time": 2, "start_time_relative_to": "start"}, {"span": [2, 10]}),
        (INPAINT, {"start_time": 15, "start_time_relative_to": "end"}, {"span": [5, 10]}),
        (INPAINT, {"end_time": 4, "end_time_relative_to": "end"}, {"span": [0, 16]}),
        (INPAINT, {"end_time": None}, {"span": [0, 20]}),
        (INPAINT, {"variance": 1}, {"variance": 1}),
        (OUTPAINT, {}, {"source": "asset", "tags": "lofi"}),
        (OUTPAINT, {"lyrics": "la"}, {"lyrics": "la"}),
        (OUTPAINT, {"extend_before_duration": 3}, {"left": 3}),
        (OUTPAINT, {"extend_after_duration": 4}, {"right": 4}),
    ],
)
def test_a_field_becomes_an_input(app: str, sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = song_of(app, **sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert song.graph == GRAPHS[app]
    assert song.format == "wav"


def test_the_words_of_a_song_are_changed() -> None:
    song = song_of(EDIT, edit_mode="lyrics", original_lyrics="la", lyrics="lo", tags="lofi")
    assert (song.graph, song.warnings) == ("edit-lyrics", ())
    assert dict(song.inputs) == {"source": "asset", "tags": "lofi", "lyrics": "la", "new_lyrics": "lo"}
    assert "new_lyrics" in song_of(EDIT, edit_mode="lyrics").inputs


@pytest.mark.parametrize("app", GRAPHS)
@pytest.mark.parametrize("seed", [None, -1, ""])
def test_what_is_not_sent_is_the_models_own(app: str, seed: Any) -> None:
    song = song_of(app, seed=seed)
    assert not {"seed", "steps", "solver", "guidance", "guidance_scale", "omega"} & song.inputs.keys()
    assert song.warnings == ()


@pytest.mark.parametrize(
    ("app", "sent", "said"),
    [
        (BASE, {"guidance_scale": 15}, "guidance_scale=15: used; this model's own value is 3"),
        (BASE, {"guidance_type": "apg"}, "guidance_type=text 'apg': used"),
        (BASE, {"guidance_interval": 0.5}, "guidance_interval=0.5: used"),
        (BASE, {"tags": "", "lyrics": "la"}, "tags=text '': no tags were given; 'song' is used"),
        (BASE, {"colour": "blue"}, "colour=text 'blue': not known here, ignored"),
        (PROMPT, {"instrumental": False}, "instrumental=false: no language model"),
        (EDIT, {"lyrics": "other"}, "lyrics=text 'other': not sung"),
        (EDIT, {"edit_mode": "lyrics"}, "tags=text 'jazz': not used"),
        (EDIT, {"seed": 8, "original_seed": 7}, "seed=8: not used; original_seed comes first"),
        (INPAINT, {"end_time": 30}, "end_time=30: cut to the end of the audio, 20 s"),
        (INPAINT, {"end_time": None}, "end_time=30: cut to the end of the audio, 20 s"),
    ],
)
def test_what_is_done_otherwise_is_told(app: str, sent: dict[str, Any], said: str) -> None:
    assert [line for line in song_of(app, **sent).warnings if line.startswith(said)], song_of(app, **sent).warnings


@pytest.mark.parametrize(
    ("app", "field", "value"),
    [
        (BASE, "tags", None),
        (BASE, "tags", ""),
        (BASE, "tags", {}),
        (BASE, "lyrics", []),
        (BASE, "duration", 4.9),
        (BASE, "duration", 240.1),
        (BASE, "duration", "long"),
        (BASE, "number_of_steps", 2),
        (BASE, "number_of_steps", 61),
        (BASE, "seed", "x"),
        (BASE, "scheduler", "dpm"),
        (BASE, "guidance_type", "x"),
        (BASE, "granularity_scale", 101),
        (BASE, "guidance_interval", 2),
        (BASE, "guidance_interval_decay", 2),
        (BASE, "guidance_scale", 31),
        (BASE, "minimum_guidance_scale", -1),
        (BASE, "tag_guidance_scale", 11),
        (BASE, "lyric_guidance_scale", 11),
        (PROMPT, "prompt", None),
        (PROMPT, "prompt", " "),
        (PROMPT, "instrumental", "perhaps"),
        (PROMPT, "duration", 600),
        (EDIT, "audio_url", None),
        (EDIT, "edit_mode", "both"),
        (EDIT, "original_tags", None),
        (EDIT, "tags", ""),
        (EDIT, "tags", None),
        (EDIT, "original_seed", 1.5),
        (INPAINT, "audio_url", None),
        (INPAINT, "start_time", -1),
        (INPAINT, "start_time", 10),
        (INPAINT, "start_time_relative_to", "middle"),
        (INPAINT, "end_time", "x"),
        (INPAINT, "end_time_relative_to", "middle"),
        (INPAINT, "variance", 1.1),
        (OUTPAINT, "audio_url", ""),
        (OUTPAINT, "tags", ""),
        (OUTPAINT, "extend_before_duration", -1),
        (OUTPAINT, "extend_after_duration", 240),
    ],
)
def test_what_cannot_be_is_refused_by_name(app: str, field: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        song_of(app, **{field: value})
    assert refused.value.field == field
    assert refused.value.allowed


def test_the_start_lies_in_the_audio() -> None:
    with pytest.raises(InputError, match="start_time"):
        song_of(INPAINT, start_time=25, start_time_relative_to="end")
