"""What a graph takes from a recipe, and what it is told to leave."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acestep_flows.audio import write
from acestep_flows.errors import InputError
from acestep_flows.graph.language.parse import parse
from acestep_flows.graph.language.syntax import Graph
from acestep_flows.graph.library import load
from acestep_flows.recipes.carry_over import CarriedOver, carry_over, seed_notes, song_file
from acestep_flows.recipes.stored_recipe import FileInput, StoredRecipe
from acestep_flows.stages.ports import PortType
from acestep_flows.value_file import encode_value
from acestep_flows.values import Audio, Latents, Span

SONG = Path("outputs/song.wav")
MADE = StoredRecipe(
    "outputs/song.wav",
    "text2music",
    {"tags": "pop", "lyrics": "la", "duration": 12.0, "seed": 7, "steps": 20, "guidance_scale": None, "mood": "x"},
    song=SONG,
)
PAINTED = replace(
    MADE,
    graph="repaint",
    inputs={
        "source": FileInput("audio", "d" * 64, ("first.wav",)),
        "tags": "pop",
        "lyrics": "la",
        "span": Span(1, 2),
        "seed": 3,
        "retake_seed": 4,
        "variance": 0.5,
        "steps": 20,
    },
)


def carried(recipe: StoredRecipe, graph: str | Graph, *given: str, again: bool = False) -> tuple[dict[str, Any], str]:
    graph = load(graph) if isinstance(graph, str) else graph
    result = carry_over(recipe, graph, given, again=again)
    return result.inputs, "\n".join(result.lines(recipe))


def test_an_edit_takes_the_song_and_what_it_is() -> None:
    inputs, told = carried(MADE, "repaint", "span")
    assert inputs == {
        "source": FileInput("audio", "", ("outputs/song.wav",)),
        "tags": "pop",
        "lyrics": "la",
        "seed": 7,
        "steps": 20,
    }
    assert told == "not taken over: mood x (no input of repaint)"


def test_a_retake_takes_duration_and_seed() -> None:
    inputs, _ = carried(MADE, "retake")
    assert inputs == {"tags": "pop", "lyrics": "la", "duration": 12.0, "seed": 7, "steps": 20}


MIXED = replace(
    MADE, graph="long-form", content={}, inputs={"tags": "pop", "sections": ["la", "lo"], "seconds": 60.0, "seed": 7}
)


@pytest.mark.parametrize("recipe", [PAINTED, MIXED, replace(MADE, inputs={**MADE.inputs, "track": FileInput("audio")})])
def test_a_song_that_was_made_of_other_music_has_no_noise_to_vary(recipe: StoredRecipe) -> None:
    with pytest.raises(InputError) as caught:
        carried(recipe, "retake", "variance", "duration")
    told = str(caught.value)
    assert told.startswith(
        f"outputs/song.wav: a song of {recipe.graph} has no noise of its own, which retake would vary"
    )
    assert "the graph repaint with span 0: and variance 0.3" in told
    carried(recipe, "retake", "seed")  # of another song


def test_a_seed_that_is_not_the_songs_own_is_told() -> None:
    retake, takes = load("retake"), replace(MADE, inputs={"tags": "pop", "seeds": [3, 4]}, take=1)
    (line,) = seed_notes(MADE, retake, {"seed": 9})
    assert line.startswith("seed 9 is not the song's own, 7, so retake varies another song; leave seed out")
    assert seed_notes(MADE, retake, {"seed": 7}) == seed_notes(MADE, retake, {"variance": 1}) == []
    assert seed_notes(takes, retake, {"seed": 4}) == []
    assert seed_notes(PAINTED, retake, {"seed": 3}) == ["seed 3 is of another song, and retake varies that one"]
    assert seed_notes(MADE, load("text2music"), {"seed": 9}) == [], "a new song is what is asked for"
    assert seed_notes(MADE, load("repaint"), {"seed": 9}) == []


@pytest.mark.parametrize("graph", ["retake", "batch-takes", "variation-in-span"])
def test_songs_of_noise_and_graphs_with_a_source_are_varied(graph: str) -> None:
    carried(replace(MADE, graph="retake", inputs={**MADE.inputs, "retake_seed": 5, "variance": 0.2}), graph)
    carried(MADE, graph)


@pytest.mark.parametrize("graph", ["text2music", "batch-takes", "best-of", "lyric2vocal"])
@pytest.mark.parametrize(
    ("samples", "seconds"), [(64 * 4096, 64 * 4096 / 44_100), (64 * 4096 + 1, 64 * 4096 / 44_100), (99_225, 2.25)]
)
def test_a_new_song_from_an_edited_one_is_as_long(tmp_path: Path, graph: str, samples: int, seconds: float) -> None:
    song = tmp_path / "edited.flac"
    write.audio(song, Audio(np.zeros((2, samples), np.float32), 44_100), sample_rate=44_100)
    inputs, _ = carried(replace(PAINTED, song=song), graph)
    assert inputs["duration"] == seconds
    assert "duration" not in carried(replace(PAINTED, song=song), graph, "duration")[0]
    assert "duration" not in carried(replace(PAINTED, song=tmp_path / "gone.flac"), graph)[0]


def test_a_song_that_is_too_long_gives_no_length_and_says_so(tmp_path: Path) -> None:
    song = tmp_path / "long.wav"
    write.audio(song, Audio(np.zeros((1, 250 * 8000), np.float32), 8000))
    inputs, told = carried(replace(PAINTED, song=song), "text2music")
    assert "duration" not in inputs
    assert "the song has 250.00 s, and text2music makes up to 240 s; give duration" in told


@pytest.mark.parametrize("graph", ["batch-takes", "best-of"])
def test_other_takes_have_seeds_of_their_own(graph: str) -> None:
    inputs, told = carried(replace(MADE, inputs={"tags": "pop", "seed": 7}), graph, "seeds")
    assert inputs == {"tags": "pop"}
    assert told == ""


def test_how_a_take_was_picked_is_not_of_the_song() -> None:
    best = {"tags": "pop", "seeds": [3, 4], "by": "key_fit", "prefer": "highest"}
    picked = replace(MADE, graph="best-of", inputs=best, take=1)
    assert carried(picked, "text2music") == ({"tags": "pop", "seed": 4}, "")
    inputs, told = carried(picked, "repaint", "span")
    assert (inputs["seed"], told) == (4, "")
    assert carried(picked, "best-of") == (best, "")


def test_what_is_given_wins() -> None:
    inputs, _ = carried(MADE, "repaint", "tags", "source", "steps")
    assert inputs == {"lyrics": "la", "seed": 7}


def test_the_next_edit_has_its_own_span_and_variance() -> None:
    inputs, told = carried(PAINTED, "repaint")
    assert inputs["source"] == FileInput("audio", "", ("outputs/song.wav",))
    assert inputs.keys() == {"source", "tags", "lyrics", "seed", "steps"}
    assert told == "", "everybody expects it"


def test_what_was_told_of_a_length_is_known_in_every_form() -> None:
    known = CarriedOver({"duration": 12, "right": 3.0, "left": 0, "seed": 7}).told_lengths()
    assert "12.00 s of the 12 s asked, in whole frames" not in known
    assert "11.98 s of the 12 s asked, in whole frames" in known
    assert "right: 2.97 s of the 3 s asked, in whole frames; exact_length=true makes all of it" in known
    assert not any("left" in note or "of the 0 s" in note for note in known)
    assert CarriedOver({"duration": 12, "exact_length": True}).told_lengths() == frozenset()


def test_the_own_graph_again_has_everything() -> None:
    inputs, told = carried(PAINTED, "repaint", again=True)
    assert inputs == PAINTED.inputs
    assert told == ""
    nested = replace(MADE, graph="long-form", inputs={"tags": "pop", "whole[1].noise.retake_seed": 5})
    assert carried(nested, "long-form", again=True)[0] == nested.inputs


def test_after_an_edit_the_song_has_its_new_words() -> None:
    edited = replace(MADE, graph="edit-step", inputs={**MADE.inputs, "new_tags": "jazz", "new_lyrics": "do"})
    assert carried(edited, "repaint")[0].items() >= {"tags": "jazz", "lyrics": "do"}.items()
    chained = replace(MADE, graph="lyric-chain", inputs={**MADE.inputs, "edits": ["one", "two"]})
    assert carried(chained, "edit-lyrics")[0]["lyrics"] == "two"


def test_of_several_takes_the_file_is_one() -> None:
    inputs = {name: value for name, value in MADE.inputs.items() if name not in ("seed", "mood")}
    takes = replace(MADE, graph="batch-takes", inputs={**inputs, "seeds": [5, 6, 7]}, take=1)
    assert carried(takes, "retake")[0]["seed"] == 6
    unknown, told = carried(replace(takes, take=None), "retake")
    assert "seed" not in unknown
    assert "seeds of 3 (no input of retake)" in told
    assert carried(replace(takes, take=8), "retake")[0].keys() == unknown.keys()
    assert carried(takes, "batch-takes")[0]["seeds"] == [5, 6, 7]


def test_the_song_of_a_graph_is_its_source_or_the_one_file_it_needs() -> None:
    assert carried(MADE, "audio2audio")[0]["reference"] == FileInput("audio", "", ("outputs/song.wav",))
    two = parse(
        "graph: two\nversion: 1\ninputs: {a: {type: audio}, b: {type: audio}}\n"
        "nodes: {m: {stage: mix, with: {stems: [$a, $b]}}}\noutputs: {audio: $m.audio}\n"
    )
    assert carried(MADE, two)[0] == {}


def test_a_file_of_another_kind_is_left() -> None:
    decode = parse(
        "graph: d\nversion: 1\ninputs: {source: {type: latents}}\n"
        "nodes: {m: {stage: decode_latents, with: {latents: $source}}}\noutputs: {mel: $m.mel}\n"
    )
    inputs, told = carried(replace(PAINTED, inputs={"source": PAINTED.inputs["source"]}), decode, again=True)
    assert inputs == {}
    assert told == "not taken over: source first.wav (audio, where d takes latents)"


def test_warnings_of_the_recipe_are_told_too() -> None:
    assert carried(replace(MADE, warnings=("format mp3",)), "text2music")[1].splitlines()[-1] == "format mp3"


@pytest.mark.parametrize("kind", ["music", "audio", "latents"])
def test_latents_beside_an_untouched_song_are_its_source(tmp_path: Path, kind: str) -> None:
    song, beside = tmp_path / "song.wav", tmp_path / "song-latents.safetensors"
    song.write_bytes(b"sound")
    latents = Latents(np.ones((8, 16, 2), np.float32))
    recipe = replace(MADE, song=song, latents=latents.digest, sums={"song.wav": hashlib.sha256(b"sound").hexdigest()})
    sound = FileInput("audio", "", (str(song),))
    notes: list[str] = []
    assert song_file(recipe, PortType("music"), notes) == sound  # there are none
    beside.write_bytes(encode_value(latents))
    kept = FileInput("latents", latents.digest, (str(beside),))
    assert song_file(recipe, PortType(kind), notes) == (sound if kind == "audio" else kept)
    assert notes == []
    song.write_bytes(b"edited in another program")
    assert song_file(recipe, PortType(kind), notes) == (kept if kind == "latents" else sound)
    assert len(notes) == (kind == "music")
    song.write_bytes(b"sound")
    beside.write_bytes(b"damaged")
    assert song_file(recipe, PortType(kind), notes) == (kept if kind == "latents" else sound)


def test_a_song_from_before_there_were_beats_goes_on_without_one() -> None:
    before = replace(MADE, content={"graph": {}})
    assert carried(before, "retake")[0]["beat"] == "none"
    assert carried(before, "retake", "beat")[0].get("beat") is None, "what is given wins"
    assert "beat" not in carried(before, "repaint", "span")[0]
    after = replace(before, inputs={**MADE.inputs, "beat": "click"})
    assert carried(after, "retake")[0]["beat"] == "click"
