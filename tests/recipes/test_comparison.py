"""Two songs side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from acestep_flows import Session
from acestep_flows.audio import write
from acestep_flows.cli.compare import NANO_PHASES, comparison_lines
from acestep_flows.cli.main import cli
from acestep_flows.errors import InputError
from acestep_flows.recipes.comparison import compare_songs, read_song
from acestep_flows.value_file import encode_value
from acestep_flows.values import Audio, Latents

RATE = 8000


@pytest.fixture(scope="module")
def songs(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A song, the same with other words and another seed, and what they were made of."""
    folder = tmp_path_factory.mktemp("songs")
    made: dict[str, Any] = {"duration": 1, "steps": 1}
    with Session(small_root, cache_folder=folder / "cache") as session:
        session.run("text2music", tags="pop", seed=7, **made).save(folder, name="one", keep="latents")
        session.run("text2music", tags="pop, drums", seed=8, **made).save(folder, name="two", keep="latents")
    return folder


def run(*args: object) -> Result:
    return CliRunner().invoke(cli, ["compare", *map(str, args)])


def noise(seconds: float, seed: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (np.random.default_rng(seed).standard_normal((2, round(seconds * RATE))) * 0.1).astype(np.float32)


def write_audio(path: Path, samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Path:
    write.audio(path, Audio(samples, RATE), sample_rate=RATE, format="wav")
    return path


def test_seconds_that_differ_are_told_with_their_level(tmp_path: Path) -> None:
    before = noise(5.5)
    after = before.copy()
    after[:, 2 * RATE : 4 * RATE] *= 1.1  # a tenth of it is -20 dB
    one, two = write_audio(tmp_path / "one.wav", before), write_audio(tmp_path / "two.wav", after)
    result = run(one, two)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"A  {one}: audio, 5.50 s, 8 kHz, 2 channels, digest ")
    assert lines[2:] == [
        "samples: not the same",
        "difference, over the level of A:",
        "  0 to 2 s: the same",
        "  2 to 4 s: -20 dB",
        "  4 to 5.5 s: the same",
        "recipes: A and B have none",
    ]


def test_a_silent_second_and_another_length(tmp_path: Path) -> None:
    before = np.concatenate([np.zeros((2, RATE), np.float32), noise(1)], axis=1)
    after = np.concatenate([noise(1, 2), before[:, RATE:], noise(1)], axis=1)
    result = run(write_audio(tmp_path / "one.wav", before), write_audio(tmp_path / "two.wav", after))
    assert "length: B is 1.00 s longer" in result.stdout
    assert "  0 to 1 s: A is silent\n  1 to 2 s: the same\n" in result.stdout


def test_the_same_song_under_another_name(songs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.wav"
    copy.write_bytes((songs / "one.wav").read_bytes())
    for name in ("one.wav", "one.json"):
        result = run(songs / name, copy)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout.splitlines()[2:] == ["samples: the same", "recipes: the same"]


@pytest.mark.parametrize(("kind", "what"), [(".wav", "samples"), ("-latents.safetensors", "latents")])
def test_recipes_are_compared_in_words(songs: Path, kind: str, what: str) -> None:
    result = run(songs / f"one{kind}", songs / f"two{kind}")
    assert f"{what}: not the same" in result.stdout
    recipes = result.stdout.partition("recipes, A | B:\n")[2].splitlines()
    assert recipes[:2] == ["  tags: pop | pop, drums", "  seed: 7 | 8"]
    assert recipes[2].startswith("  first difference: node prompt (encode_prompt) differs in prompt: its parameters")


def test_latents_beside_both_songs_are_compared_too(songs: Path, tmp_path: Path) -> None:
    lines = run(songs / "one.wav", songs / "two.wav").stdout.splitlines()
    of_latents = lines.index("difference of the latents beside them:")
    assert lines.index("difference, over the level of A:") < of_latents < lines.index("recipes, A | B:")
    assert lines[of_latents + 1].endswith(" dB")
    assert not [line for line in lines if "acestep-nano" in line]
    facts = json.loads(run(songs / "one.wav", songs / "two.wav", "--json").stdout)
    assert len(facts["latents_by_second"]) == 1
    alone = tmp_path / "two.wav"
    alone.write_bytes((songs / "two.wav").read_bytes())
    assert "difference of the latents" not in run(songs / "one.wav", alone).stdout


def test_a_song_of_the_small_model_has_a_caution(songs: Path) -> None:
    one, two = (read_song(songs / f"{name}.wav", "A") for name in ("one", "two"))
    assert two.own is not None
    nano = replace(two, own=two.own.model_copy(update={"model": "acestep-nano-1"}))
    assert [line for line in comparison_lines(compare_songs(one, nano)) if line == NANO_PHASES] == [NANO_PHASES]
    assert NANO_PHASES not in list(comparison_lines(compare_songs(nano, nano))), "there is nothing to explain"


def test_weights_of_one_name_are_told_only_where_a_stage_used_others(songs: Path) -> None:
    one, two = (read_song(songs / f"{name}.wav", "A") for name in ("one", "two"))
    assert two.own is not None
    more = replace(two, own=two.own.model_copy(update={"weights": "of more parts"}))
    assert not [line for line in compare_songs(one, more).differences or () if line.startswith("weights")]
    nodes = tuple(
        node.model_copy(update={"weights": ("other",)}) if node.stage == "sample" else node for node in two.own.nodes
    )
    other = replace(more, own=two.own.model_copy(update={"weights": "others", "nodes": nodes}))
    lines = compare_songs(one, other).differences or ()
    assert f"weights: {two.own.model} in both, but other files in sample" in lines


def test_facts_for_programs_and_a_picture(songs: Path, tmp_path: Path) -> None:
    result = run(songs / "one.wav", songs / "two.wav", "--json", "--png", tmp_path / "a.png")
    facts = json.loads(result.stdout)
    assert (facts["same"], facts["a"]["graph"], len(facts["by_second"])) == (False, "text2music", 1)
    assert facts["a"]["digest"] != facts["b"]["digest"]
    assert facts["recipe_differences"][1] == "seed: 7 | 8"
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    latents = [songs / f"{name}-latents.safetensors" for name in ("one", "two")]
    assert run(*latents, "--png", tmp_path / "b.png").exit_code == 0
    assert (tmp_path / "b.png").is_file()


def test_what_cannot_be_compared_is_told_in_one_line(songs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is audio, .* latents .*two of one kind"):
        compare_songs(read_song(songs / "one.wav", "A"), read_song(songs / "one-latents.safetensors", "B"))
    (tmp_path / "junk.wav").write_bytes(b"no song")
    (tmp_path / "junk.json").write_text("{}", encoding="utf-8")
    (tmp_path / "lost.json").write_bytes((songs / "one.json").read_bytes())
    for name, said in (("junk.wav", "junk.wav"), ("junk.json", "no recipe"), ("lost.json", "does not lie beside it")):
        result = run(tmp_path / name, songs / "one.wav")
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert said in result.stderr


def test_latents_without_a_recipe_and_of_other_frames(tmp_path: Path) -> None:
    for name, frames in (("a", 20), ("b", 30)):
        (tmp_path / f"{name}.safetensors").write_bytes(encode_value(Latents(np.ones((8, 16, frames), np.float32))))
    result = run(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert "length: B is 0.93 s longer" in result.stdout
    assert "  0 to 1.858 s: the same" in result.stdout
