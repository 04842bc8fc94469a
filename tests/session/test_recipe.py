"""Runs that begin with a recipe: ours in JSON and in tags, and v1's of every task."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from acestep_flows import Session
from acestep_flows.audio import read, write
from acestep_flows.errors import InputError, NotFound
from acestep_flows.session import RunResult
from acestep_flows.value_file import encode_value
from tests.recipes.v1_files import EDITED, NEW, OLD, RETAKE_SEED, SEED
from tests.session.songs import SONG, SOURCE, WORDS

V1: dict[str, Any] = {"audio_duration": 1.2, "infer_step": 3, "guidance_scale_text": 0.0, "guidance_scale_lyric": 0.0}
SAMPLED: dict[str, Any] = {
    "steps": 3,
    "solver": "heun",
    "guidance": "cfg_star",
    "guidance_scale": 7.5,
    "guidance_scale_text": 0.0,
    "guidance_scale_lyric": 0.0,
    "guidance_interval": 0.3,
    "guidance_decay": 0.1,
    "guidance_minimum": 2.0,
    "omega": 5.0,
    "erg_tag": True,
    "erg_lyric": False,
    "erg_diffusion": True,
    "compatibility": "upstream",
}
TEXT: dict[str, Any] = {"tags": OLD["prompt"], "lyrics": OLD["lyrics"]}


@pytest.fixture
def folder(result: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a song in `outputs`, its latents beside it."""
    monkeypatch.chdir(tmp_path)
    result.save("outputs", name="song", keep=["latents"])
    return tmp_path


def write_v1(name: str, **changes: Any) -> str:
    Path(name).write_text(json.dumps({**NEW, **V1, **changes}), encoding="utf-8")
    return name


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def taken(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "not taken over" in record.getMessage()]


def test_a_recipe_is_run_again(session: Session, result: RunResult, folder: Path) -> None:
    for file in ("outputs/song.wav", Path("outputs/song.json")):
        again = session.run(recipe=file)
        assert (again.graph, again.audio, again.drawn) == ("text2music", result.audio, {})
    other = session.run(recipe="outputs/song.wav", seed=8)
    assert other.inputs["seed"] == 8
    assert other.audio != result.audio


def test_a_retake_needs_nothing_but_the_song(
    session: Session, result: RunResult, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    retake = session.run("retake", recipe="outputs/song.wav", variance=0.5)
    assert retake.inputs.items() >= {**SONG, "variance": 0.5}.items()
    assert taken(caplog) == []
    kept = session.run("retake", recipe="outputs/song.wav", variance=0)
    assert kept.latents == result.latents


def test_edits_start_from_the_latents_beside_the_song(session: Session, result: RunResult, folder: Path) -> None:
    painted = session.run("repaint", recipe="outputs/song.wav", span=(0.2, 0.6))
    assert painted.inputs["source"] == result.latents
    assert painted.inputs.items() >= {**WORDS, "seed": 7, "steps": 2}.items()
    assert list(painted.recipe.files.values()) == ["outputs/song-latents.safetensors", "outputs/song.wav"]
    Path("outputs/song-latents.safetensors").unlink()
    from_sound = session.run("repaint", recipe="outputs/song.wav", span=(0.2, 0.6))
    assert from_sound.inputs["source"] == read.audio("outputs/song.wav")


@pytest.mark.parametrize(
    ("graph", "more"),
    [
        ("extend", {"right": 1}),
        ("edit-lyrics", {"new_lyrics": "[verse]\ngoodbye"}),
        ("remix", {"new_tags": "rock"}),
        ("audio2audio", {}),
        ("variation-in-span", {"span": (0.2, 0.6)}),
    ],
)
def test_every_edit_takes_the_song_from_the_file(
    session: Session, result: RunResult, folder: Path, graph: str, more: dict[str, Any]
) -> None:
    edited = session.run(graph, recipe="outputs/song.wav", **more)
    assert result.latents in edited.inputs.values()
    assert edited.inputs.items() >= {**WORDS, "seed": 7, "steps": 2}.items()


def test_an_edited_song_is_edited_further(session: Session, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    session.run("repaint", recipe="outputs/song.wav", span=(0.2, 0.6)).save("outputs", name="painted")
    with pytest.raises(InputError, match="span: missing"):
        session.run("repaint", recipe="outputs/painted.wav")
    further = session.run("repaint", recipe="outputs/painted.wav", span=(0.3, 0.5))
    assert further.inputs["source"] == read.audio("outputs/painted.wav")
    assert taken(caplog) == [], "the span and the source of the edit before are not expected"


def test_an_edit_finds_its_source_after_a_move(session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painted = session.run("repaint", recipe="outputs/song.wav", span=(0.2, 0.6), source="outputs/song.wav")
    painted.save("outputs", name="painted")
    shutil.move("outputs", "moved")
    monkeypatch.chdir("moved")
    assert session.run(recipe="painted.wav").audio == painted.audio
    Path("song.wav").rename("renamed.wav")
    assert session.run(recipe="painted.json").audio == painted.audio
    Path("renamed.wav").unlink()
    message = r"^source: song\.wav is missing, audio with digest .* it was outputs/song\.wav .*allowed: source=\.\.\."
    with pytest.raises(InputError, match=message):
        session.run(recipe="painted.json")
    shutil.copy("painted.wav", "other.wav")
    assert session.run(recipe="painted.json", source="other.wav").inputs["source"] == read.audio("other.wav")


def test_a_source_that_was_never_a_file_is_found_in_the_cache(
    session: Session, result: RunResult, folder: Path
) -> None:
    painted = session.run("repaint", **WORDS, steps=2, seed=3, source=result.latents, span=(0.2, 0.6))
    painted.save("outputs", name="painted")
    assert session.run(recipe="outputs/painted.json").audio == painted.audio


@pytest.mark.parametrize("form", [OLD, NEW])
def test_the_song_of_v1(session: Session, folder: Path, caplog: pytest.LogCaptureFixture, form: dict[str, Any]) -> None:
    Path("v1.json").write_text(json.dumps({**form, **V1}))
    song = session.run(recipe="v1.json")
    assert song.audio == session.run("text2music", **TEXT, **SAMPLED, duration=1.2, seed=SEED).audio
    assert song.audio != session.run("text2music", **TEXT, **{**SAMPLED, "omega": 0}, duration=1.2, seed=SEED).audio
    assert warned(caplog) == []


def test_the_retake_of_v1(session: Session, folder: Path) -> None:
    song = session.run(recipe=write_v1("v1.json", task="retake", retake_variance=0.2))
    seeds: dict[str, Any] = {"seed": SEED, "retake_seed": RETAKE_SEED, "variance": 0.2}
    assert song.audio == session.run("retake", **TEXT, **SAMPLED, **seeds, duration=1.2).audio


def test_edits_of_v1_find_their_song(session: Session, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """v1 was started elsewhere; the song lies beside its parameters now."""
    shutil.move("outputs/song.wav", "song.wav")
    source: dict[str, Any] = {"source": read.audio("song.wav")}
    seeds: dict[str, Any] = {"seed": SEED, "retake_seed": RETAKE_SEED}
    there: dict[str, Any] = {"src_audio_path": "./elsewhere/song.wav", "audio_duration": 0.93}
    repaint = write_v1("a.json", task="repaint", **there, repaint_start=0.2, repaint_end=0.6)
    wanted = session.run("repaint", **TEXT, **SAMPLED, **source, **seeds, span=(0.2, 0.6), variance=0.5)
    assert session.run(recipe=repaint).latents == wanted.latents
    extend = write_v1("b.json", task="extend", **there, repaint_start=0, repaint_end=1.43, retake_variance=1.0)
    wanted = session.run("extend", **TEXT, **SAMPLED, **source, **seeds, left=0, right=0.5)
    assert session.run(recipe=extend).latents == wanted.latents
    audio2audio = write_v1("c.json", audio2audio_enable=True, ref_audio_input="/elsewhere/song.wav")
    wanted = session.run("audio2audio", **TEXT, **SAMPLED, reference="song.wav", strength=0.5, seed=SEED)
    assert session.run(recipe=audio2audio).latents == wanted.latents
    assert warned(caplog) == []
    edit = write_v1("d.json", **EDITED)
    told = session.run(recipe=edit, tags="pop, drums", lyrics="")
    texts: dict[str, Any] = {
        "tags": "pop, drums",
        "lyrics": "",
        "new_tags": "big band",
        "new_lyrics": "[verse]\nOther words",
    }
    kept: dict[str, Any] = {"minimum": 0.2, "maximum": 0.4, "averages": 2, "seed": RETAKE_SEED}
    assert told.latents == session.run("edit", **texts, **SAMPLED, **source, **kept).latents


def test_what_v1_used_and_is_not_here(session: Session, folder: Path) -> None:
    with pytest.raises(InputError, match=r"^source: song9\.wav is missing; it was \./x/song9\.wav \(allowed: source="):
        session.run(recipe=write_v1("a.json", task="repaint", repaint_end=0.5, src_audio_path="./x/song9.wav"))
    with pytest.raises(InputError, match="tags.*missing"):
        session.run(
            recipe=write_v1("b.json", **{**EDITED, "src_audio_path": str(write.audio("plain.wav", SOURCE).path)})
        )
    adapted = write_v1("c.json", lora_name_or_path="voice", lora_weight=0.5)
    song = session.run(recipe=adapted)
    assert song.inputs.items() >= {"adapter": "voice", "adapter_weight": 0.5}.items()
    plain = session.run(recipe=adapted, adapter=None)
    assert song.audio != plain.audio


def test_what_a_graph_does_not_take_is_logged(session: Session, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        session.run("decode", recipe="outputs/song.wav")
    (told,) = taken(caplog)
    assert told.startswith("outputs/song.wav: not taken over: tags pop, drums, lyrics [verse] hello")
    assert told.endswith("(no input of decode)")


def test_latents_of_another_song_are_not_taken(
    session: Session, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = session.run("text2music", **{**SONG, "seed": 99})
    Path("outputs/song-latents.safetensors").write_bytes(encode_value(other.latents))
    painted = session.run("repaint", recipe="outputs/song.wav", span=(0.2, 0.6))
    assert painted.inputs["source"] == read.audio("outputs/song.wav")
    assert "song.wav and song-latents.safetensors are not as one run wrote them" in caplog.text


@pytest.mark.parametrize(
    ("graph", "options", "kind", "message"),
    [
        (None, {}, InputError, r"^graph: missing \(allowed: a graph, or recipe=FILE"),
        (None, {"recipe": 3}, InputError, "^recipe: 3"),
        (None, {"recipe": "nowhere.wav"}, InputError, "nowhere.wav: cannot be read"),
        ("text2musik", {"recipe": "outputs/song.wav"}, NotFound, "no graph 'text2musik'"),
        (None, {"recipe": "outputs/song.png"}, InputError, "song.png: not readable as audio"),
        ("retake", {"recipe": "outputs/song.wav", "sped": 3}, InputError, "no input 'sped'"),
    ],
)
def test_bad_recipes_are_one_line(
    session: Session, folder: Path, graph: str | None, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        session.start(graph, **options)
    assert len(str(error.value).splitlines()) == 1


def test_a_plan_may_begin_with_a_recipe(session: Session, folder: Path) -> None:
    assert {node.fate for node in session.plan(recipe="outputs/song.wav").nodes} == {"cached"}
