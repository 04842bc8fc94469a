"""Every field of POST /release_task: what is sent becomes an input, a warning or a refusal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.compat.acestep15.songs import settle
from acestep_flows.compat.acestep15.tables import TABLE, gathered, read_fields
from acestep_flows.compat.fields import Draft, SongRequest
from acestep_flows.compat.given_audio import GivenAudio
from acestep_flows.errors import InputError

NANO = ModelCard("acestep-nano", sampling={"guidance": "cfg", "guidance_scale": 3.0, "guidance_interval": 1.0})
SOURCE = GivenAudio("src_audio", "asset-1", 20.0)
REFERENCE = GivenAudio("reference_audio", "asset-2", 12.0)


def song_of(source: GivenAudio | None = None, reference: GivenAudio | None = None, **fields: Any) -> SongRequest:
    fields = {"prompt": "lofi", "audio_duration": 10, **fields}
    return settle(read_fields(gathered(fields), Draft(model=NANO)), source, reference).song()


def edit_of(task: str, **fields: Any) -> SongRequest:
    return song_of(SOURCE, task_type=task, audio_duration=None, **fields)


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({"prompt": "lofi, 夜"}, {"tags": "lofi, 夜"}),
        ({"prompt": None, "caption": "jazz"}, {"tags": "jazz"}),
        ({"lyrics": "[verse]\n雨 \n"}, {"lyrics": "[verse]\n雨 \n"}),
        ({"instrumental": True}, {"lyrics": "[inst]"}),
        ({"instrumental": "false"}, {"lyrics": ""}),
        ({"audio_duration": "12.5"}, {"duration": 12.5}),
        ({"audio_duration": "", "duration": 7}, {"duration": 7.0}),
        ({"audio_duration": None, "targetDuration": 240}, {"duration": 240.0}),
        ({"inference_steps": "8"}, {"steps": 8}),
        ({"inferenceSteps": 8.0}, {"steps": 8}),
        ({"guidance_scale": "7.5"}, {"guidance_scale": 7.5}),
        ({"seed": 42}, {"seed": 42}),
        ({"seed": "42", "use_random_seed": False}, {"seed": 42}),
        ({"seed": 2**32 - 1, "useRandomSeed": "false"}, {"seed": 2**32 - 1}),
        ({"infer_method": "ode"}, {"solver": "euler"}),
        ({"inferMethod": "SDE"}, {"solver": "pingpong"}),
        ({"vocal_language": "zh"}, {"language": "zh"}),
        ({"vocalLanguage": "pt-BR"}, {"language": "pt"}),
        ({"cfg_interval_start": 0.25, "cfg_interval_end": 0.75}, {"guidance_interval": 0.5}),
        ({"cfg_interval_start": 0, "cfg_interval_end": "1"}, {"guidance_interval": 1.0}),
        ({"lora_name_or_path": "rap"}, {"adapter": "rap"}),
        ({"lora_weight": 0.5}, {"adapter_weight": 0.5}),
        ({"metas": {"caption": "no", "bpm": 90}}, {"tags": "lofi, 90 bpm"}),
        ({"param_obj": '{"inference_steps": 5}'}, {"steps": 5}),
        ({"userMetadata": {"lyrics": "la"}}, {"lyrics": "la"}),
    ],
)
def test_a_field_becomes_an_input(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = song_of(**sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert song.graph == "text2music"


@pytest.mark.parametrize("name", ["guidance_scale", "steps", "seed", "solver", "language", "guidance_interval"])
def test_what_is_not_sent_is_the_models_own(name: str) -> None:
    assert name not in song_of().inputs


@pytest.mark.parametrize("value", ["", None, "  "])
def test_an_empty_value_is_not_sent(value: Any) -> None:
    assert song_of(**dict.fromkeys((row.name for row in TABLE[4:]), value)) == song_of()


@pytest.mark.parametrize("value", ["none", "None"])
def test_no_adapter_is_none(value: str) -> None:
    assert "adapter" not in song_of(lora_name_or_path=value).inputs


@pytest.mark.parametrize("sent", [{}, {"audio_duration": -1}, {"audio_duration": "-1.0"}])
def test_a_length_that_is_not_given_is_told(sent: dict[str, Any]) -> None:
    song = song_of(**{"audio_duration": None, **sent})
    assert song.inputs["duration"] == 30
    assert [line for line in song.warnings if line.startswith("audio_duration=") and "30 s" in line]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"timesteps": [1.0, 0.5, 0.0]}, "timesteps="),
        ({"audio_format": "wav32"}, "audio_format=text 'wav32': wav is made"),
        ({"vocal_language": "sv"}, "vocal_language=text 'sv': the language of the lyrics is detected"),
        ({"model": "acestep-v15-turbo"}, "model=text 'acestep-v15-turbo': this server's model is used, acestep-nano"),
        ({"dit_model": "other"}, "model=text 'other'"),
        ({"guidance_scale": 7}, "guidance_scale=7: used; this model's own value is 3"),
        ({"cfg_interval_start": 0.2}, "cfg_interval_start=0.2: not used"),
        ({"bpm": 72}, "bpm=72: told to the model in the tags"),
        ({"keyscale": "A minor"}, "key_scale=text 'A minor': told to the model"),
        ({"timesignature": "4"}, "time_signature=text '4/4': told to the model"),
        ({"negative_prompt": "noise"}, "negative_prompt=text 'noise': this model takes no negative prompt"),
        ({"global_caption": "x"}, "global_caption="),
        ({"instruction": "x"}, "instruction="),
        ({"track_name": "drums"}, "track_name="),
        ({"shift": 1}, "shift=1: the model has a shift of its own"),
        ({"use_adg": True}, "use_adg=true: guidance is the model's own"),
        ({"use_tiled_decode": "false"}, "use_tiled_decode=false"),
        ({"repaint_latent_crossfade_frames": 5}, "repaint_latent_crossfade_frames=5"),
        ({"repaint_wav_crossfade_sec": 0.5}, "repaint_wav_crossfade_sec=0.5"),
        ({"cover_noise_strength": 0.5}, "cover_noise_strength=0.5"),
        ({"dcw_enabled": True}, "dcw_enabled=true"),
        ({"thinking": True}, "thinking=true: no language model is served here"),
        ({"thinking": "true"}, "thinking="),
        ({"lm_temperature": 0.85}, "lm_temperature=0.85: no language model"),
        ({"lmModelPath": "x"}, "lmModelPath=text 'x': no language model"),
        ({"use_cot_caption": True}, "use_cot_caption=true: no language model"),
        ({"constrained_decoding": True}, "constrained_decoding=true"),
        ({"constrained_decoding_debug": 1}, "constrained_decoding_debug=1"),
        ({"allow_lm_batch": True}, "allow_lm_batch=true"),
        ({"use_format": True}, "use_format=true"),
        ({"format": True}, "format=true"),
        ({"is_format_caption": True}, "is_format_caption=true"),
        ({"sample_mode": True}, "sample_mode=true: no language model"),
        ({"description": "sad song"}, "sample_query=text 'sad song': no language model"),
        ({"audio_cover_strength": 0.4}, "audio_cover_strength=0.4: not used"),
        ({"repainting_start": 3}, "repainting_start=3: not used"),
        ({"repainting_end": 3}, "repainting_end=3: not used"),
        ({"repaint_strength": 0.9}, "repaint_strength=0.9: not used"),
        ({"repaint_mode": "aggressive"}, "repaint_mode=1: not used"),
        ({"colour": "blue"}, "colour=text 'blue': not known here, ignored"),
        ({"instrumental": True, "lyrics": "la"}, "lyrics=text 'la': not sung"),
        ({"use_random_seed": True, "seed": 7}, "seed=7: drawn"),
        ({"prompt": "", "lyrics": "la"}, "prompt=text '': no tags were given; 'song' is used"),
    ],
)
def test_what_is_done_otherwise_is_told(sent: dict[str, Any], said: str) -> None:
    assert [line for line in song_of(**sent).warnings if line.startswith(said)], song_of(**sent).warnings


@pytest.mark.parametrize(
    "sent",
    [
        {"thinking": False},
        {"thinking": "false"},
        {"use_format": 0},
        {"lm_top_p": False},
        {"use_cot_language": "no"},
        {"dcw_enabled": False},
        {"shift": "3.0"},
        {"use_adg": "false"},
        {"use_tiled_decode": True},
        {"cover_noise_strength": 0},
        {"analysis_only": "false"},
        {"full_analysis_only": False},
        {"extract_codes_only": 0},
        {"audio_code_string": ""},
        {"audio_cover_strength": 1.0},
        {"repainting_start": 0, "repainting_end": -1},
        {"repaint_strength": 0.5, "repaint_mode": "balanced"},
        {"vocal_language": "unknown"},
        {"model": "acestep-nano"},
        {"batch_size": 1},
        {"seed": -1, "use_random_seed": True},
        {"task_type": "text2music"},
    ],
)
def test_what_is_so_anyway_is_not_told(sent: dict[str, Any]) -> None:
    assert song_of(**sent).warnings == ()


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"audio_duration": 0}, "audio_duration"),
        ({"audio_duration": 240.1}, "audio_duration"),
        ({"audio_duration": None, "targetDuration": 600}, "targetDuration"),
        ({"audio_duration": "long"}, "audio_duration"),
        ({"inference_steps": 0}, "inference_steps"),
        ({"inference_steps": 201}, "inference_steps"),
        ({"inference_steps": 2.5}, "inference_steps"),
        ({"timesteps": [1]}, "timesteps"),
        ({"timesteps": "a,b"}, "timesteps"),
        ({"guidance_scale": 31}, "guidance_scale"),
        ({"guidanceScale": "nan"}, "guidanceScale"),
        ({"seed": "x"}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"use_random_seed": "perhaps"}, "use_random_seed"),
        ({"batch_size": 9}, "batch_size"),
        ({"batch_size": 0}, "batch_size"),
        ({"audio_format": "opus"}, "audio_format"),
        ({"audio_format": "aac"}, "audio_format"),
        ({"task_type": "lego"}, "task_type"),
        ({"task_type": "extract"}, "task_type"),
        ({"task_type": "stem_separation"}, "task_type"),
        ({"task_type": "ai_mix"}, "task_type"),
        ({"task_type": "midi_to_audio"}, "task_type"),
        ({"task_type": "chord_detection"}, "task_type"),
        ({"task_type": "cover"}, "src_audio"),
        ({"task_type": "repaint"}, "src_audio"),
        ({"task_type": "complete"}, "src_audio"),
        ({"repainting_start": "a"}, "repainting_start"),
        ({"repainting_end": {}}, "repainting_end"),
        ({"audio_cover_strength": 1.1}, "audio_cover_strength"),
        ({"repaint_strength": -0.1}, "repaint_strength"),
        ({"repaint_mode": "wild"}, "repaint_mode"),
        ({"bpm": 0}, "bpm"),
        ({"key_scale": ["A"]}, "key_scale"),
        ({"time_signature": {}}, "time_signature"),
        ({"vocal_language": 3 * ["en"]}, "vocal_language"),
        ({"infer_method": "dpm"}, "infer_method"),
        ({"cfg_interval_start": 2}, "cfg_interval_start"),
        ({"cfg_interval_end": -1}, "cfg_interval_end"),
        ({"lora_weight": 11}, "lora_weight"),
        ({"audio_code_string": "<|audio_code_1|>"}, "audio_code_string"),
        ({"analysis_only": True}, "analysis_only"),
        ({"full_analysis_only": "true"}, "full_analysis_only"),
        ({"extract_codes_only": 1}, "extract_codes_only"),
        ({"shift": "x"}, "shift"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "", "lyrics": ""}, "prompt"),
        ({"metas": "[1]"}, "metas"),
        ({"param_obj": 3}, "param_obj"),
        ({"metadata": {"steps": 3, "inference_steps": 999}}, "inference_steps"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        song_of(**sent)
    assert refused.value.field == field
    assert refused.value.allowed


@pytest.mark.parametrize(
    ("sent", "seeds"),
    [
        ({"batch_size": 3, "seed": 7}, [7, 8, 9]),
        ({"batch_size": "2"}, ["random", "random"]),
        ({"batch_size": 2, "seed": -1}, ["random", "random"]),
        ({"batch_size": 3, "seed": "1,2"}, [1, 2, "random"]),
        ({"seed": "5, 9"}, [5, 9]),
        ({"seed": [5, 9], "batch_size": 2}, [5, 9]),
        ({"batch_size": 2, "seed": 7, "use_random_seed": True}, ["random", "random"]),
    ],
)
def test_a_batch_has_a_seed_for_each_song(sent: dict[str, Any], seeds: list[Any]) -> None:
    song = song_of(**sent)
    assert (song.graph, song.inputs["seeds"]) == ("batch-takes", seeds)
    assert "seed" not in song.inputs


def test_seeds_beyond_the_batch_are_told() -> None:
    song = song_of(batch_size=1, seed="4,5")
    assert (song.graph, song.inputs["seed"]) == ("text2music", 4)
    assert [line for line in song.warnings if line.startswith("seed=")]


@pytest.mark.parametrize("name", ["mp3", "wav", "flac", "ogg"])
def test_a_format_is_made(name: str) -> None:
    assert song_of(audio_format=name).format == name


def test_the_format_is_mp3_where_none_is_sent() -> None:
    assert song_of().format == "mp3"
    assert song_of(audio_format="wav32").format == "wav"


def test_properties_stand_in_the_tags_and_are_kept_for_the_result() -> None:
    song = song_of(bpm="72", key_scale="A minor", time_signature="4")
    assert song.inputs["tags"] == "lofi, 72 bpm, A minor, 4/4"
    assert song.labels == {"bpm": "72", "key_scale": "A minor", "time_signature": "4/4"}
    assert song_of(prompt="lofi, 72 BPM", bpm=72).inputs["tags"] == "lofi, 72 BPM"


def test_a_question_for_a_sample_is_the_tags_of_an_instrumental() -> None:
    song = song_of(prompt="", sample_query="a sad song", sample_mode=True)
    assert (song.inputs["tags"], song.inputs["lyrics"]) == ("a sad song", "[inst]")
    both = song_of(sample_query="a sad song", lyrics="la")
    assert (both.inputs["tags"], both.inputs["lyrics"]) == ("lofi", "la")


def test_text2music_with_a_reference_stays_near_it() -> None:
    song = song_of(None, REFERENCE, audio_cover_strength=0.3)
    assert (song.graph, song.inputs["reference"], song.inputs["strength"]) == ("audio2audio", "asset-2", 0.3)
    assert "duration" not in song.inputs
    assert [line for line in song.warnings if line.startswith("audio_duration=10: the song is as long as")]


def test_a_cover_stays_near_its_source() -> None:
    song = edit_of("cover", audio_cover_strength=0.7, seed=3)
    assert (song.graph, dict(song.inputs)) == (
        "audio2audio",
        {"tags": "lofi", "lyrics": "", "reference": "asset-1", "strength": 0.7, "seed": 3},
    )
    without = edit_of("cover")
    assert without.inputs["strength"] == 0.5
    assert [line for line in without.warnings if line.startswith("audio_cover_strength=")]
    whole = edit_of("cover", audio_cover_strength=1.0)
    assert whole.inputs["strength"] == 1
    assert [line for line in whole.warnings if line.startswith("audio_cover_strength=1: used")]


@pytest.mark.parametrize(
    ("sent", "span"),
    [
        ({}, [0, None]),
        ({"repainting_start": 2, "repainting_end": 5}, [2, 5]),
        ({"repainting_start": "2", "repainting_end": -1}, [2, None]),
        ({"repainting_start": 2, "repainting_end": None}, [2, None]),
        ({"repainting_end": 20}, [0, 20]),
    ],
)
def test_a_repaint_has_a_span(sent: dict[str, Any], span: list[Any]) -> None:
    song = edit_of("repaint", **sent)
    assert (song.graph, song.inputs["source"], song.inputs["span"]) == ("repaint", "asset-1", span)


@pytest.mark.parametrize(
    ("sent", "variance"),
    [
        ({}, 0.5),
        ({"repaint_strength": 0.8}, 0.8),
        ({"repaint_mode": "conservative"}, 0.2),
        ({"repaint_mode": "balanced", "repaint_strength": 0.7}, 0.7),
        ({"repaint_mode": "Aggressive"}, 1.0),
        ({"repaint_mode": "aggressive", "repaint_strength": 0.5}, 1.0),
    ],
)
def test_a_repaint_has_a_strength(sent: dict[str, Any], variance: float) -> None:
    assert edit_of("repaint", **sent).inputs["variance"] == variance


@pytest.mark.parametrize(
    ("sent", "left", "right"),
    [
        ({"repainting_start": -3}, 3, 0),
        ({"repainting_end": 26.5}, 0, 6.5),
        ({"repainting_start": -3, "repainting_end": 25}, 3, 5),
    ],
)
def test_a_repaint_beyond_its_source_extends_it(sent: dict[str, Any], left: float, right: float) -> None:
    song = edit_of("repaint", **sent)
    assert (song.graph, song.inputs["source"]) == ("extend", "asset-1")
    assert (song.inputs["left"], song.inputs["right"]) == (left, right)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"repainting_start": 20}, "repainting_start"),
        ({"repainting_start": 5, "repainting_end": 5}, "repainting_start"),
        ({"prompt": "", "lyrics": "la"}, "prompt"),
    ],
)
def test_a_repaint_of_nothing_is_refused(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        edit_of("repaint", **sent)
    assert refused.value.field == field


def test_a_completion_continues_up_to_a_length() -> None:
    song = song_of(SOURCE, task_type="complete", audio_duration=32)
    assert (song.graph, song.inputs["left"], song.inputs["right"]) == ("extend", 0, 12)
    with pytest.raises(InputError) as refused:
        song_of(SOURCE, task_type="complete", audio_duration=20)
    assert refused.value.field == "audio_duration"


def test_audio_that_a_task_has_no_use_for_is_told() -> None:
    assert [line for line in song_of(SOURCE).warnings if line.startswith("src_audio=")]
    song = song_of(SOURCE, REFERENCE, task_type="cover", audio_duration=None)
    assert [line for line in song.warnings if line.startswith("reference_audio=")]


def test_one_song_is_made_of_audio() -> None:
    song = edit_of("cover", batch_size=4, seed=5)
    assert (song.graph, song.inputs["seed"]) == ("audio2audio", 5)
    assert [line for line in song.warnings if line.startswith("batch_size=4: one song")]


def test_a_body_as_json_text_within_a_form_is_read() -> None:
    song = song_of(param_obj=json.dumps({"duration": 99, "thinking": True, "seed": "3"}))
    assert (song.inputs["duration"], song.inputs["seed"]) == (10, 3)
    assert [line for line in song.warnings if line.startswith("thinking=")]
