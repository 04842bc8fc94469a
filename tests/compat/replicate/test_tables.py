"""Every input of the models that Replicate has: what is sent becomes an input of a graph, a warning or a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.fields import Draft, SongRequest
from acestep_flows.compat.replicate.family import patience
from acestep_flows.compat.replicate.models import MODELS, read_inputs
from acestep_flows.errors import InputError

NANO = ModelCard("acestep-nano", sampling={"guidance": "cfg", "guidance_scale": 3.0, "guidance_interval": 1.0})
LUCATACO, NATIVE, FISHAUDIO = MODELS
WORDS = {LUCATACO: "tags", NATIVE: "prompt", FISHAUDIO: "prompt"}


def song_of(model: str, **fields: Any) -> SongRequest:
    return read_inputs(MODELS[model], {WORDS[model]: "lofi", **fields}, Draft(model=NANO)).song()


@pytest.mark.parametrize(
    ("model", "sent", "inputs"),
    [
        (LUCATACO, {"tags": "lofi, 夜"}, {"tags": "lofi, 夜"}),
        (LUCATACO, {"lyrics": "[verse]\n雨 \n"}, {"lyrics": "[verse]\n雨 \n"}),
        (LUCATACO, {"duration": 12.5}, {"duration": 12.5}),
        (LUCATACO, {"number_of_steps": "27"}, {"steps": 27}),
        (LUCATACO, {"seed": 0}, {"seed": 0}),
        (LUCATACO, {"scheduler": "heun"}, {"solver": "heun"}),
        (LUCATACO, {"guidance_type": "cfg_star"}, {"guidance": "cfg_star"}),
        (LUCATACO, {"granularity_scale": -100}, {"omega": -100}),
        (LUCATACO, {"guidance_interval": 0.5}, {"guidance_interval": 0.5}),
        (LUCATACO, {"guidance_interval_decay": 0.25}, {"guidance_decay": 0.25}),
        (LUCATACO, {"guidance_scale": 15}, {"guidance_scale": 15}),
        (LUCATACO, {"min_guidance_scale": 3}, {"guidance_minimum": 3}),
        (LUCATACO, {"tag_guidance_scale": 5}, {"guidance_scale_text": 5}),
        (LUCATACO, {"lyric_guidance_scale": 1.5}, {"guidance_scale_lyric": 1.5}),
        (LUCATACO, {"audio": "asset", "ref_audio_strength": 0.3}, {"reference": "asset", "strength": 0.3}),
        (NATIVE, {"prompt": "jazz"}, {"tags": "jazz"}),
        (NATIVE, {"lyrics": "la"}, {"lyrics": "la"}),
        (NATIVE, {"audio_duration": 0.5}, {"duration": 0.5}),
        (NATIVE, {"infer_step": 2}, {"steps": 2}),
        (NATIVE, {"scheduler_type": "PINGPONG"}, {"solver": "pingpong"}),
        (NATIVE, {"cfg_type": "cfg"}, {"guidance": "cfg"}),
        (NATIVE, {"omega_scale": 10}, {"omega": 10}),
        (NATIVE, {"guidance_scale": 7}, {"guidance_scale": 7}),
        (NATIVE, {"guidance_interval": 0.4}, {"guidance_interval": 0.4}),
        (NATIVE, {"guidance_interval_decay": 1}, {"guidance_decay": 1}),
        (NATIVE, {"min_guidance_scale": 3}, {"guidance_minimum": 3}),
        (NATIVE, {"guidance_scale_text": 5}, {"guidance_scale_text": 5}),
        (NATIVE, {"guidance_scale_lyric": 2}, {"guidance_scale_lyric": 2}),
        (NATIVE, {"use_erg_tag": False}, {"erg_tag": False}),
        (NATIVE, {"use_erg_lyric": "true"}, {"erg_lyric": True}),
        (NATIVE, {"use_erg_diffusion": 0}, {"erg_diffusion": False}),
        (NATIVE, {"oss_steps": "1, 5"}, {"oss_steps": [1, 5]}),
        (NATIVE, {"seed": 7}, {"seed": 7}),
        (NATIVE, {"manual_seeds": "7"}, {"seed": 7}),
        (NATIVE, {"lora_name_or_path": "rap", "lora_weight": 0.5}, {"adapter": "rap", "adapter_weight": 0.5}),
        (NATIVE, {"ref_audio_input": "asset", "ref_audio_strength": 1}, {"reference": "asset", "strength": 1}),
        (FISHAUDIO, {"prompt": "jazz"}, {"tags": "jazz"}),
        (FISHAUDIO, {"lyrics": "la"}, {"lyrics": "la"}),
        (FISHAUDIO, {"instrumental": True}, {"lyrics": "[inst]"}),
        (FISHAUDIO, {"duration": 5}, {"duration": 5}),
        (FISHAUDIO, {"bpm": 72, "key_scale": "A minor"}, {"tags": "lofi, 72 bpm, A minor"}),
        (FISHAUDIO, {"time_signature": "3/4"}, {"tags": "lofi, 3/4"}),
        (FISHAUDIO, {"vocal_language": "zh"}, {"language": "zh"}),
        (FISHAUDIO, {"inference_steps": 8}, {"steps": 8}),
        (FISHAUDIO, {"guidance_scale": 7}, {"guidance_scale": 7}),
        (FISHAUDIO, {"infer_method": "sde"}, {"solver": "pingpong"}),
        (FISHAUDIO, {"seed": 7}, {"seed": 7}),
        (FISHAUDIO, {"seed": 7, "batch_size": 3}, {"seeds": [7, 8, 9]}),
        (FISHAUDIO, {"seed": -1, "batch_size": 2}, {"seeds": ["random", "random"]}),
    ],
)
def test_a_field_becomes_an_input(model: str, sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = song_of(model, **sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert song.graph == (
        "audio2audio" if "reference" in inputs else "batch-takes" if "seeds" in inputs else "text2music"
    )


@pytest.mark.parametrize(("model", "seconds"), [(LUCATACO, 60), (NATIVE, 30), (FISHAUDIO, 30)])
def test_what_is_not_sent_is_the_models_own(model: str, seconds: float) -> None:
    song = song_of(model)
    assert dict(song.inputs) == {"tags": "lofi", "duration": seconds}
    assert song.warnings == ()
    assert song.format == ("mp3" if model == FISHAUDIO else "wav")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", [-1, "-1", None])
def test_a_seed_may_be_drawn(model: str, seed: Any) -> None:
    assert "seed" not in song_of(model, seed=seed).inputs


@pytest.mark.parametrize(
    ("model", "sent", "said"),
    [
        (LUCATACO, {"duration": -1}, "duration=-1: "),
        (LUCATACO, {"number_of_steps": 8}, "number_of_steps=8: used"),
        (LUCATACO, {"guidance_scale": 15}, "guidance_scale=15: used; this model's own value is 3"),
        (LUCATACO, {"guidance_type": "apg"}, "guidance_type=text 'apg': used"),
        (LUCATACO, {"tags": "", "lyrics": "la"}, "tags=text '': no tags were given; 'song' is used"),
        (LUCATACO, {"ref_audio_strength": 0.5}, "ref_audio_strength=0.5: not used"),
        (LUCATACO, {"audio": "asset", "duration": 9}, "duration=9: not used; the song is as long as its audio"),
        (FISHAUDIO, {"bpm": 72}, "bpm=72: told to the model in the tags"),
        (FISHAUDIO, {"key_scale": "A minor"}, "key_scale=text 'A minor': told"),
        (FISHAUDIO, {"time_signature": "4/4"}, "time_signature=text '4/4': told"),
        (FISHAUDIO, {"vocal_language": "sv"}, "vocal_language=text 'sv': the language of the lyrics is detected"),
        (FISHAUDIO, {"thinking": True}, "thinking=true: no language model"),
        (FISHAUDIO, {"shift": 1}, "shift=1: the model has a shift of its own"),
        (FISHAUDIO, {"instrumental": True, "lyrics": "la"}, "lyrics=text 'la': not sung"),
    ],
)
def test_what_is_done_otherwise_is_told(model: str, sent: dict[str, Any], said: str) -> None:
    assert [line for line in song_of(model, **sent).warnings if line.startswith(said)], song_of(model, **sent).warnings


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        (NATIVE, {"lora_name_or_path": "none"}),
        (NATIVE, {"oss_steps": []}),
        (FISHAUDIO, {"thinking": "false", "shift": 3, "batch_size": 1, "audio_format": "mp3", "seed": -1}),
    ],
)
def test_what_is_so_anyway_is_not_told(model: str, sent: dict[str, Any]) -> None:
    assert song_of(model, **sent) == song_of(model)


def test_a_length_is_drawn() -> None:
    assert 30 <= song_of(LUCATACO, duration=-1).inputs["duration"] <= 240


@pytest.mark.parametrize("name", ["mp3", "wav", "flac", "ogg"])
def test_a_format_is_made(name: str) -> None:
    assert song_of(FISHAUDIO, audio_format=name).format == name


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (LUCATACO, "tags", None),
        (LUCATACO, "tags", ""),
        (LUCATACO, "tags", ["a"]),
        (LUCATACO, "lyrics", 3 * ["a"]),
        (LUCATACO, "duration", 0.5),
        (LUCATACO, "duration", 241),
        (LUCATACO, "number_of_steps", 201),
        (LUCATACO, "number_of_steps", 0),
        (LUCATACO, "seed", 1.5),
        (LUCATACO, "scheduler", "dpm"),
        (LUCATACO, "guidance_type", "adg"),
        (LUCATACO, "granularity_scale", 101),
        (LUCATACO, "guidance_interval", 1.1),
        (LUCATACO, "guidance_interval_decay", -1),
        (LUCATACO, "guidance_scale", 31),
        (LUCATACO, "min_guidance_scale", 201),
        (LUCATACO, "tag_guidance_scale", 11),
        (LUCATACO, "lyric_guidance_scale", -1),
        (LUCATACO, "ref_audio_strength", 2),
        (LUCATACO, "colour", "blue"),
        (NATIVE, "prompt", ""),
        (NATIVE, "audio_duration", 600),
        (NATIVE, "infer_step", 2.5),
        (NATIVE, "use_erg_tag", "perhaps"),
        (NATIVE, "oss_steps", [0]),
        (NATIVE, "lora_weight", 11),
        (NATIVE, "manual_seeds", "1,2"),
        (NATIVE, "number_of_steps", 9),
        (FISHAUDIO, "duration", 0),
        (FISHAUDIO, "bpm", 0),
        (FISHAUDIO, "key_scale", ["A"]),
        (FISHAUDIO, "time_signature", {}),
        (FISHAUDIO, "batch_size", 9),
        (FISHAUDIO, "audio_format", "opus"),
        (FISHAUDIO, "shift", "x"),
        (FISHAUDIO, "thinking", "perhaps"),
        (FISHAUDIO, "infer_method", "dpm"),
        (FISHAUDIO, "task_type", "lego"),
    ],
)
def test_what_cannot_be_is_refused_by_name(model: str, field: str, value: Any) -> None:
    with pytest.raises(InputError) as refused:
        song_of(model, **{field: value})
    assert refused.value.field == field
    assert refused.value.allowed


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("respond-async", None),
        ("wait", 60),
        ("wait=5", 5),
        ("respond-async, Wait = 7", 7),
        ("wait=900", 60),
    ],
)
def test_a_request_says_how_long_it_waits(header: str, seconds: float | None) -> None:
    assert patience(header) == seconds
