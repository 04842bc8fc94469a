"""Every argument of v1's Python call: what is sent becomes an input, a warning or a refusal; and where files go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from acestep_flows.compat.fields import Draft, SongRequest
from acestep_flows.compat.v1.call import PARAMETERS, PipelineCall, song_paths
from acestep_flows.errors import InputError

LENGTH = 20.0


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "song.wav"
    path.write_bytes(b"")
    return str(path)


def songs_of(**sent: Any) -> list[SongRequest]:
    return PipelineCall({"prompt": "lofi", **sent}, Draft(), lambda path: LENGTH).songs()


def song_of(**sent: Any) -> SongRequest:
    return songs_of(**sent)[0]


@pytest.mark.parametrize(
    ("sent", "inputs"),
    [
        ({"audio_duration": 12.5}, {"duration": 12.5}),
        ({}, {"duration": 60.0}),
        ({"prompt": "lofi, 夜"}, {"tags": "lofi, 夜"}),
        ({"lyrics": "[verse]\n雨"}, {"lyrics": "[verse]\n雨"}),
        ({"infer_step": 27}, {"steps": 27}),
        ({"guidance_scale": 7.5}, {"guidance_scale": 7.5}),
        ({"scheduler_type": "heun"}, {"solver": "heun"}),
        ({"cfg_type": "cfg"}, {"guidance": "cfg"}),
        ({"omega_scale": 3}, {"omega": 3.0}),
        ({"manual_seeds": 7}, {"seed": 7}),
        ({"manual_seeds": "7"}, {"seed": 7}),
        ({"manual_seeds": [7]}, {"seed": 7}),
        ({"manual_seeds": ["7"]}, {"seed": 7}),
        ({"guidance_interval": 0.3}, {"guidance_interval": 0.3}),
        ({"guidance_interval_decay": 0.2}, {"guidance_decay": 0.2}),
        ({"min_guidance_scale": 2}, {"guidance_minimum": 2.0}),
        ({"use_erg_tag": False}, {"erg_tag": False}),
        ({"use_erg_lyric": False}, {"erg_lyric": False}),
        ({"use_erg_diffusion": False}, {"erg_diffusion": False}),
        ({"oss_steps": "16, 29"}, {"oss_steps": [16, 29]}),
        ({"oss_steps": [16, 29]}, {"oss_steps": [16, 29]}),
        ({"guidance_scale_text": 5}, {"guidance_scale_text": 5.0}),
        ({"guidance_scale_lyric": 1.5}, {"guidance_scale_lyric": 1.5}),
        ({"lora_name_or_path": "rap", "lora_weight": 0.5}, {"adapter": "rap", "adapter_weight": 0.5}),
    ],
)
def test_an_argument_becomes_an_input(sent: dict[str, Any], inputs: dict[str, Any]) -> None:
    song = song_of(**sent)
    assert {name: song.inputs.get(name) for name in inputs} == inputs
    assert (song.graph, song.format) == ("text2music", "wav")


@pytest.mark.parametrize("sent", [None, "", "None", []])
def test_no_seed_is_drawn(sent: Any) -> None:
    one, two = songs_of(manual_seeds=sent, batch_size=2)
    assert one.inputs["seed"] != two.inputs["seed"]


@pytest.mark.parametrize("sent", [None, "", []])
def test_no_steps_are_left_out(sent: Any) -> None:
    assert "oss_steps" not in song_of(oss_steps=sent).inputs


@pytest.mark.parametrize(
    ("sent", "seeds"),
    [
        ({"manual_seeds": "7, 8"}, [7, 8]),
        ({"manual_seeds": [7, 8], "batch_size": 2}, [7, 8]),
        ({"manual_seeds": 7, "batch_size": 3}, [7, 7, 7]),
        ({"manual_seeds": [7, 8], "batch_size": 3}, [7, 8, 8]),
        ({"manual_seeds": "7,8", "batch_size": 1}, [7]),
    ],
)
def test_each_song_has_a_seed(sent: dict[str, Any], seeds: list[int]) -> None:
    assert [song.inputs["seed"] for song in songs_of(**sent)] == seeds


def test_seeds_beyond_the_batch_are_told() -> None:
    assert [line for line in song_of(manual_seeds=[7, 8], batch_size=1).warnings if line.startswith("manual_seeds=")]


@pytest.mark.parametrize("name", ["no_lora", "lora_weight", "omega", "guidance_scale", "solver", "erg_lyric"])
def test_what_is_not_given_is_the_models_own(name: str) -> None:
    assert {"adapter", "adapter_weight", name}.isdisjoint(song_of().inputs)


def test_a_retake_varies_the_same_noise() -> None:
    song = song_of(task="retake", manual_seeds=7, retake_seeds="9", retake_variance=0.3, audio_duration=10)
    assert (song.graph, song.inputs["seed"], song.inputs["retake_seed"], song.inputs["variance"]) == (
        "retake",
        7,
        9,
        0.3,
    )
    assert song.inputs["duration"] == 10


@pytest.mark.parametrize("task", ["repaint", "extend"])
@pytest.mark.parametrize(
    ("start", "end", "graph", "inputs"),
    [
        (2, 5, "repaint", {"span": (2, 5), "variance": 0.5}),
        (2, LENGTH + 0.05, "repaint", {"span": (2, LENGTH)}),
        (-3, 10, "extend", {"left": 3, "right": 0}),
        (0, LENGTH + 6, "extend", {"left": 0, "right": 6}),
        (-3, LENGTH + 6, "extend", {"left": 3, "right": 6}),
    ],
)
def test_the_span_says_whether_a_song_grows(
    file: str, task: str, start: float, end: float, graph: str, inputs: dict[str, Any]
) -> None:
    song = song_of(task=task, src_audio_path=file, repaint_start=start, repaint_end=end, retake_seeds=4)
    assert (song.graph, song.inputs["source"], song.inputs["retake_seed"]) == (graph, file, 4)
    assert {name: song.inputs[name] for name in inputs} == inputs


def test_an_edit_has_both_texts(file: str) -> None:
    song = song_of(
        task="edit",
        lyrics="a",
        src_audio_path=Path(file),
        edit_target_prompt="jazz",
        edit_target_lyrics="b",
        edit_n_min=0.2,
        edit_n_max=0.8,
        edit_n_avg=2,
        retake_seeds=5,
    )
    assert (song.graph, dict(song.inputs)) == (
        "edit",
        {
            "tags": "lofi",
            "lyrics": "a",
            "source": file,
            "new_tags": "jazz",
            "new_lyrics": "b",
            "minimum": 0.2,
            "maximum": 0.8,
            "averages": 2,
            "seed": 5,
        },
    )
    same = song_of(task="edit", lyrics="a", src_audio_path=file).inputs
    assert (same["new_tags"], same["new_lyrics"]) == ("lofi", "a")


@pytest.mark.parametrize("sent", [{"audio2audio_enable": True}, {"task": "audio2audio"}])
def test_a_reference_makes_it_audio2audio(file: str, sent: dict[str, Any]) -> None:
    song = song_of(ref_audio_input=file, ref_audio_strength=0.7, manual_seeds=3, **sent)
    assert (song.graph, song.inputs["reference"], song.inputs["strength"]) == ("audio2audio", file, 0.7)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"audio_duration": -1}, "audio_duration=-1: "),
        ({"audio2audio_enable": True}, "audio2audio_enable=true: not used without ref_audio_input"),
        ({"debug": True}, "debug=true: nothing more is told"),
        ({"prompt": None, "lyrics": "la"}, "prompt="),
    ],
)
def test_what_is_done_otherwise_is_told(sent: dict[str, Any], said: str) -> None:
    assert [line for line in song_of(**sent).warnings if line.startswith(said)]


def test_a_length_beside_a_source_is_told(file: str) -> None:
    song = song_of(task="edit", src_audio_path=file, audio_duration=9)
    assert "duration" not in song.inputs
    assert [line for line in song.warnings if line.startswith("audio_duration=9: not used")]
    longer = song_of(task="extend", src_audio_path=file, repaint_end=30, retake_variance=0.2)
    assert [line for line in longer.warnings if line.startswith("retake_variance=0.2: not used")]


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"format": "aac"}, "format"),
        ({"audio_duration": 241}, "audio_duration"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 3 * ["a"]}, "prompt"),
        ({"lyrics": {}}, "lyrics"),
        ({"infer_step": 0}, "infer_step"),
        ({"guidance_scale": 31}, "guidance_scale"),
        ({"scheduler_type": "dpm"}, "scheduler_type"),
        ({"cfg_type": "none"}, "cfg_type"),
        ({"omega_scale": "x"}, "omega_scale"),
        ({"manual_seeds": "a"}, "manual_seeds"),
        ({"guidance_interval": 2}, "guidance_interval"),
        ({"guidance_interval_decay": 2}, "guidance_interval_decay"),
        ({"min_guidance_scale": -1}, "min_guidance_scale"),
        ({"use_erg_tag": 3}, "use_erg_tag"),
        ({"use_erg_lyric": "x"}, "use_erg_lyric"),
        ({"use_erg_diffusion": []}, "use_erg_diffusion"),
        ({"oss_steps": "a"}, "oss_steps"),
        ({"guidance_scale_text": 11}, "guidance_scale_text"),
        ({"guidance_scale_lyric": 11}, "guidance_scale_lyric"),
        ({"audio2audio_enable": 2}, "audio2audio_enable"),
        ({"ref_audio_strength": 2}, "ref_audio_strength"),
        ({"task": "audio2audio"}, "ref_audio_input"),
        ({"audio2audio_enable": True, "ref_audio_input": "/no/file.wav"}, "ref_audio_input"),
        ({"ref_audio_input": 3}, "ref_audio_input"),
        ({"lora_name_or_path": 3 * ["a"]}, "lora_name_or_path"),
        ({"lora_weight": 11}, "lora_weight"),
        ({"retake_seeds": "a"}, "retake_seeds"),
        ({"retake_variance": 2}, "retake_variance"),
        ({"task": "lego"}, "task"),
        ({"repaint_start": "a"}, "repaint_start"),
        ({"repaint_end": "a"}, "repaint_end"),
        ({"task": "repaint"}, "src_audio_path"),
        ({"task": "edit", "src_audio_path": "/no/file.wav"}, "src_audio_path"),
        ({"edit_target_prompt": {}}, "edit_target_prompt"),
        ({"edit_target_lyrics": {}}, "edit_target_lyrics"),
        ({"edit_n_min": 2}, "edit_n_min"),
        ({"edit_n_max": 2}, "edit_n_max"),
        ({"edit_n_avg": 0}, "edit_n_avg"),
        ({"save_path": 3}, "save_path"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_what_cannot_be_is_refused_by_name(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as refused:
        song_of(**sent)
    assert refused.value.field == field


def test_a_span_of_nothing_is_refused(file: str) -> None:
    with pytest.raises(InputError) as refused:
        song_of(task="repaint", src_audio_path=file)
    assert refused.value.field == "repaint_end"


def test_every_argument_has_a_row_here() -> None:
    """Arguments that no test above names would go under."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in PARAMETERS if f'"{name}"' not in text and f"{name}=" not in text] == []


@pytest.mark.parametrize(
    ("save_path", "format", "is_default", "count", "paths"),
    [
        ("a/song.wav", "wav", True, 1, ["a/song.wav"]),
        ("a/song.mp3", "wav", True, 1, ["a/song.mp3"]),
        ("a/song.wav", "mp3", False, 1, ["a/song.mp3"]),
        ("a/song", "flac", False, 1, ["a/song.flac"]),
        ("a/song.v2", "wav", True, 1, ["a/song.v2.wav"]),
        ("a/song.ogg", "wav", True, 2, ["a/song_0.ogg", "a/song_1.ogg"]),
        ("a/song", "wav", True, 2, ["a/song_0.wav", "a/song_1.wav"]),
        ("a/", "wav", True, 2, ["a/new_0.wav", "a/new_1.wav"]),
        (None, "mp3", False, 1, ["outputs/new_0.mp3"]),
    ],
)
def test_songs_go_where_they_are_told(
    save_path: str | None, format: str, is_default: bool, count: int, paths: list[str]
) -> None:
    assert song_paths(save_path, format, is_default, count, "new") == [Path(path) for path in paths]


def test_a_folder_that_is_there_is_a_folder(tmp_path: Path) -> None:
    assert song_paths(str(tmp_path), "wav", True, 1, "new") == [tmp_path / "new_0.wav"]
