"""Recipes in JSON and in the tags of audio, ours and v1's, alone and with what lies beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.audio import tags, write
from acestep_flows.audio.tags import Tags
from acestep_flows.errors import InputError
from acestep_flows.graph.records.recipe import GraphPart, Recipe
from acestep_flows.outputs import write_outputs
from acestep_flows.recipes.read import read_recipe_alone, read_recipe_file
from acestep_flows.recipes.stored_recipe import FileInput
from acestep_flows.recipes.upstream import NO_SOURCE_TEXT
from acestep_flows.values import Audio, Latents, Span
from tests.recipes.v1_files import EDITED, NEW, OLD, SEED

SOUND = Audio(np.zeros((2, 4800), np.float32), 48_000)
LATENTS = Latents(np.ones((8, 16, 2), np.float32))
DIGEST = "a" * 64
MADE = Recipe(
    recipe=1,
    created="2026-01-02T03:04:05+00:00",
    graph=GraphPart(name="repaint", digest="0" * 64, content={"graph": {}}),
    inputs={
        "source": {"value": ["audio", DIGEST]},
        "span": {"value": ["span", "b" * 64], "fields": {"start": 1.0, "end": 2.0}},
        "seed": 7,
        "more": {"map": {"tags": "pop"}},
    },
    files={DIGEST: "in/first.wav"},
    seeds={"noise.seed": 7, "noise.retake_seed": None},
    outputs={"latents": {"value": ["latents", LATENTS.digest]}},
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")
    return path


def write_song(path: Path, recipe: dict[str, Any] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write.audio(path, SOUND, tags=None if recipe is None else Tags(recipe)).path


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg"])
def test_a_run_is_read_from_its_song_and_from_its_json(here: Path, format: str) -> None:
    song, _, latents, told = write_outputs(
        Path("out"), "song", {"audio": SOUND, "latents": LATENTS}, MADE, format=format, keep=["latents"]
    )
    from_song, from_json = read_recipe_file(song), read_recipe_file(told)
    for recipe in (from_song, from_json):
        assert (recipe.graph, recipe.latents, recipe.song) == ("repaint", LATENTS.digest, song)
        assert recipe.inputs["span"] == Span(1.0, 2.0)
        assert recipe.inputs["more"] == {"tags": "pop"}
        assert recipe.seeds == {"noise.seed": 7}
        assert recipe.sums[song.name] == hashlib.sha256(song.read_bytes()).hexdigest()
        assert recipe.sums.keys() == {song.name, latents.name}
    places = ("in/first.wav", "out/../in/first.wav")
    assert from_song.inputs["source"] == FileInput("audio", DIGEST, places)
    assert from_json.inputs["source"] == FileInput("audio", DIGEST, (*places, str(here / "in" / "first.wav")))


def test_the_tags_of_a_song_do_not_tell_the_working_folder(here: Path) -> None:
    song = write_outputs(Path("out"), "song", {"audio": SOUND}, MADE)[0]
    assert str(here) not in json.dumps(tags.read(song).recipe)


def test_a_take_is_known_by_its_number(here: Path) -> None:
    files = write_outputs(Path("out"), "song", {"audio": [SOUND, SOUND]}, MADE)
    second = read_recipe_file(files[2])
    assert (files[2].name, second.take) == ("song-02.wav", 1)
    assert files[2].name in second.sums
    renamed = files[2].rename("out/best.wav")
    assert read_recipe_file(renamed).take == 1


def test_the_take_that_a_run_picked_counts(here: Path) -> None:
    picked = MADE.model_copy(update={"outputs": {"index": 2}})
    song = write_outputs(Path("out"), "best-01", {"audio": SOUND}, picked)[0]
    assert read_recipe_file(song).take == 2


@pytest.mark.parametrize("content", [OLD, NEW])
def test_v1_is_read_from_its_json_and_from_the_song_beside_it(here: Path, content: dict[str, Any]) -> None:
    told = write_json(Path("out/output_20250512_0_input_params.json"), content)
    assert read_recipe_file(told).song is None
    song = write_song(Path("out/output_20250512_0.wav"))
    assert read_recipe_file(told).song == song
    assert read_recipe_file(song).song == song
    assert read_recipe_file(song).inputs["seed"] == SEED


@pytest.mark.parametrize("named", ["x" * 5000, "a\0b", "/proc/self/mem/x", "\ud800"])
def test_a_song_of_v1_under_a_name_that_no_file_has_is_not_there(here: Path, named: str) -> None:
    (here / "v1.json").write_text(json.dumps({**OLD, "audio_path": named}))
    assert read_recipe_file(here / "v1.json").song is None


def test_a_byte_order_mark_does_not_matter(here: Path) -> None:
    Path("a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(NEW).encode())
    assert read_recipe_file(Path("a.json")).graph == "text2music"


@pytest.mark.parametrize("where", ["outputs", "moved"])
def test_what_a_song_was_before_an_edit_of_v1_lies_beside_its_source(here: Path, where: str) -> None:
    told = write_json(Path("moved/edit_input_params.json"), EDITED | {"infer_step": 3})
    assert read_recipe_file(told).warnings == (NO_SOURCE_TEXT,)
    write_song(Path(where, "song.wav"))
    write_json(Path(where, "song_input_params.json"), NEW)
    recipe = read_recipe_file(told)
    assert (recipe.inputs["tags"], recipe.inputs["lyrics"]) == (NEW["prompt"], NEW["lyrics"])
    assert recipe.inputs["new_tags"] == "big band"
    assert recipe.warnings == ()


def test_the_source_of_an_edit_of_v1_may_be_an_edit_itself(here: Path) -> None:
    write_song(Path("song.wav"))
    write_json(Path("song_input_params.json"), NEW | EDITED | {"prompt": "waltz", "edit_target_prompt": "waltz"})
    told = write_json(Path("edit_input_params.json"), NEW | EDITED | {"src_audio_path": "song.wav"})
    assert read_recipe_file(told).inputs["tags"] == "waltz"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.json", None, "cannot be read: No such file"),
        ("song.json", b"{", "not JSON"),
        ("song.json", b"{}", "no recipe"),
        ("song.json", b"[1]", "no recipe"),
        ("song.json", b'{"recipe": 99}', "recipe version 99"),
        ("song.json", b'{"prompt": 1, "infer_step": 2}', "prompt: 1"),
        ("song.wav", b"no audio", "not readable as audio"),
        ("song.txt", b"[" * 100_000, "not JSON"),
    ],
)
def test_files_without_a_recipe(here: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_recipe_file(Path(name))
    assert name in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_audio_of_another_program(here: Path) -> None:
    write_song(Path("a.wav"))
    message = r"a\.wav: no recipe in its tags, and no a_input_params\.json beside it .*allowed: a recipe"
    with pytest.raises(InputError, match=message):
        read_recipe_file(Path("a.wav"))
    with pytest.raises(InputError, match="not a plain file"):
        read_recipe_file(here)


def test_a_strangers_file_is_read_alone_and_checked(here: Path) -> None:
    def check(content: Any) -> None:
        if "bad" in content:
            raise ValueError("NaN or infinity")

    song = write_song(Path("song.wav"), MADE.as_json())
    assert read_recipe_alone(song, "body", check).song is None
    assert read_recipe_alone(song, "body", check).inputs["source"] == FileInput("audio", DIGEST, ("in/first.wav",))
    with pytest.raises(InputError, match="^body: NaN or infinity"):
        read_recipe_alone(write_json(Path("a.json"), {**NEW, "bad": 1}), "body", check)
    write_json(Path("plain_input_params.json"), NEW)
    with pytest.raises(InputError, match="^body: no recipe in its tags"):
        read_recipe_alone(write_song(Path("plain.wav")), "body", check)
