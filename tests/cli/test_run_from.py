"""`run --from` and `replay --sources` from outside, and what `run` says at its end."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from acestep_flows.audio import read
from acestep_flows.cli import main as command_line
from tests.recipes.v1_files import NEW

Invoke = Callable[..., Result]

QUICK = ["--set", "tags=piano, lo-fi", "--set", "duration=1", "--set", "steps=2"]
SPAN = ["--set", "span=0.2:0.6"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that the tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def invoke(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    for name in ("ACESTEP_FLOWS_CHECKPOINT", "ACESTEP_FLOWS_LYRIC_VOCAB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> Result:
        return CliRunner().invoke(command_line.cli, [str(arg) for arg in args])

    assert run("run", "text2music", *QUICK, "--set", "seed=7", "--name", "song").exit_code == 0
    return run


def told(result: Result) -> list[str]:
    """What a run says on stderr beside its progress, the length of a song of whole frames, and unknown tags."""
    assert result.exit_code == 0, result.output
    lines = result.stderr.strip().splitlines()
    notes = ("note: 0.93 s of the 1 s asked", "note: tags: the model was not trained on 'lo-fi'")
    return [line for line in lines if not line.startswith(("[", "weights: ", *notes))]


def inputs(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(Path("outputs", f"{name}.json").read_text(encoding="utf-8"))["inputs"]
    return found


def test_a_retake_needs_nothing_but_the_song(invoke: Invoke) -> None:
    result = invoke("run", "retake", "--from", "outputs/song.wav", "--name", "take")
    line, near = told(result)
    assert line.startswith("from outputs/song.wav: retake with tags, lyrics, duration, seed, steps")
    assert re.fullmatch(r"the whole song: latents -?\d+ dB; heard -?\d+ dB", near)
    assert result.stdout.splitlines() == ["outputs/take.wav", "outputs/take.png", "outputs/take.json"]
    assert (inputs("take")["seed"], inputs("take")["duration"]) == (7, 1.0)


def test_a_retake_says_how_near_it_came_to_the_song(invoke: Invoke) -> None:
    def near(*args: object) -> dict[str, float]:
        line = told(invoke("run", "retake", "--from", "outputs/song.wav", "--set", *args, "--name", "take"))[-1]
        assert line.startswith("the whole song: ")
        parts = dict(part.split(" ", 1) for part in line.removeprefix("the whole song: ").split("; "))
        return {name: -math.inf if text == "the same" else float(text.split()[0]) for name, text in parts.items()}

    same, near_by, far = near("variance=0"), near("variance=0.1"), near("variance=1")
    assert same["latents"] == -math.inf
    assert same["heard"] < -60, "but for the steps of the file's format"
    assert near_by["latents"] < far["latents"]
    summary = json.loads(invoke("run", "retake", "--from", "outputs/song.wav", "--json").stdout)["summary"]
    assert summary[-1].startswith("the whole song: latents ")
    assert told(invoke("run", "retake", "--from", "outputs/song.wav", "--set", "seed=7"))[-1].startswith("the whole ")
    other = told(invoke("run", "retake", "--from", "outputs/song.wav", "--set", "duration=2"))
    assert not [line for line in other if line.startswith("the whole song")], "another length is another song"
    reference = ["--set", "reference=outputs/song.wav", "--set", "tags=lo-fi", "--set", "steps=2", "--set", "seed=1"]
    assert told(invoke("run", "audio2audio", *reference))[-1].startswith("the whole song: heard ")


def test_a_retake_of_another_seed_is_told_to_be_of_another_song(invoke: Invoke) -> None:
    def lines(seed: int) -> list[str]:
        return told(invoke("run", "retake", "--from", "outputs/song.wav", "--set", f"seed={seed}"))

    other, own = lines(9), lines(7)
    assert other[0] == (
        "warning: outputs/song.wav: seed 9 is not the song's own, 7, so retake varies another song; "
        "leave seed out, and set retake_seed for another variation"
    )
    assert re.fullmatch(r"the whole song: latents -?\d+ dB; heard -?\d+ dB", other[-1])
    assert own[0].startswith("from outputs/song.wav: ")


def test_a_song_whose_latents_are_gone_is_compared_by_its_sound(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "empty"))
    line = told(invoke("run", "retake", "--from", "outputs/song.wav", "--set", "variance=1"))[-1]
    assert re.fullmatch(r"the whole song: heard -?\d+ dB", line)


def test_what_was_taken_of_a_song_is_told(invoke: Invoke) -> None:
    def first(*args: object) -> str:
        return told(invoke("run", *args, *SPAN, "--name", "painted"))[0]

    line = first("repaint", "--from", "outputs/song.wav")
    assert line.startswith("from outputs/song.wav: repaint with source, tags, lyrics, seed, steps")
    assert line.endswith("; source is the sound of song.wav")
    assert invoke("run", "--from", "outputs/song.wav", "--keep", "latents", "--name", "kept").exit_code == 0
    line = first("repaint", "--from", "outputs/kept.wav")
    assert line.endswith("; source is the latents in kept-latents.safetensors")
    assert "source, sound, " in line
    given = first("repaint", "--from", "outputs/kept.wav", "--set", "source=outputs/song.wav")
    assert " is the " not in given, "whoever gives the source knows what it is"


def test_what_is_wrong_is_all_that_is_told(invoke: Invoke) -> None:
    """A mix has no tags, and much that a repaint does not take: of these two, the error counts."""
    stems = ["--set", 'stems=["outputs/song.wav", "outputs/song.wav"]', "--set", "loudness=-20"]
    made = invoke("run", "mix", *stems, "--name", "mix")
    assert made.exit_code == 0, made.output
    for more, error in (
        ([], "error: tags: missing; give it as --set tags=... or tags=@FILE"),
        (["--set", "tags=lo-fi", "--set", "variance=2"], "error: variance: 2 "),
        (["--set", "tags=lo-fi", "--set", "span=5:6"], "error: span: "),
    ):
        span = [] if "span=5:6" in more else SPAN
        wrong = invoke("run", "repaint", "--from", "outputs/mix.wav", *span, *more)
        assert wrong.exit_code == 2
        (line,) = wrong.stderr.splitlines()
        assert line.startswith(error)
    taken = told(
        invoke("run", "repaint", "--from", "outputs/mix.wav", *SPAN, "--set", "tags=lo-fi", "--set", "steps=2")
    )
    assert taken[0].startswith("warning: outputs/mix.wav: not taken over: ")


def test_a_song_that_has_what_is_missing_is_named(invoke: Invoke) -> None:
    result = invoke("run", "repaint", "--set", "source=outputs/song.wav", "--set", "variance=1")
    assert (result.exit_code, result.stderr.splitlines()) == (
        2,
        [
            "error: tags: missing; give it as --set tags=... or tags=@FILE, "
            "or take the song as --from outputs/song.wav, whose recipe has it",
            "error: span: missing; give it as --set span=4:7 (start:end in seconds)",
        ],
    )


def test_set_wins_over_the_recipe(invoke: Invoke) -> None:
    result = invoke("run", "--from", "outputs/song.json", "--set", "tags=rock", "--name", "other")
    assert told(result)[0].startswith("from outputs/song.json: text2music with lyrics, duration, seed")
    assert inputs("other")["tags"] == "rock"
    assert invoke("run", "--from", "outputs/song.wav", "--set", "steps=0").exit_code == 2


def test_a_repaint_tells_seed_steps_and_change(invoke: Invoke) -> None:
    repaint = ["run", "repaint", *SPAN, *QUICK[:2], "--set", "steps=2", "--set", "source=outputs/song.wav"]
    source, steps, change = told(invoke(*repaint))
    assert source.startswith("seed ")
    assert steps == "1 of 2 steps: variance 0.5 starts from the song and skips the first one"
    assert change.startswith("outside the span: latents the same")
    assert told(invoke(*repaint, "--quiet")) == []


def test_a_run_as_json(invoke: Invoke) -> None:
    result = invoke("run", "text2music", *QUICK, "--json", "--name", "song")
    facts = json.loads(result.stdout)
    assert facts["files"] == ["outputs/song.wav", "outputs/song.png", "outputs/song.json"]
    assert facts["drawn"] == {"seed": facts["seeds"]["noise.seed"]}
    assert facts["summary"] == [f"seed {facts['drawn']['seed']}"]
    assert facts["reports"]["report"]["task"] == "text2music"
    takes = ["--set", "tags=lo-fi", "--set", "duration=1", "--set", "steps=1", "--set", "seeds=1,2"]
    several = json.loads(invoke("run", "batch-takes", *takes, "--json").stdout)
    assert [report["seed"] for report in several["reports"]["reports"]] == [1, 2]


def test_v1_parameters_and_what_is_lost(invoke: Invoke) -> None:
    changes = {"audio_duration": 1, "infer_step": 2, "format": "mp3", "mood": "x"}
    Path("a_input_params.json").write_text(json.dumps({**NEW, **changes}), encoding="utf-8")
    lines = told(invoke("run", "--from", "a_input_params.json", "--name", "v1"))
    assert lines[:2] == [
        "warning: a_input_params.json: not parameters of v1: mood",
        "warning: a_input_params.json: format mp3: give --format, or format= to save()",
    ]
    assert lines[2].startswith("from a_input_params.json: text2music with steps, guidance_scale, solver")
    assert inputs("v1")["compatibility"] == "upstream"
    corrected = ["--set", "compatibility=corrected", "--name", "ours"]
    assert invoke("run", "--from", "a_input_params.json", *corrected).exit_code == 0
    assert inputs("ours")["compatibility"] == "corrected"


def test_a_source_that_moved_is_found_or_named(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("elsewhere").mkdir()
    assert invoke("run", "repaint", "--from", "outputs/song.wav", *SPAN, "--name", "painted").exit_code == 0
    monkeypatch.chdir("elsewhere")
    assert invoke("replay", "../outputs/painted.wav", "--quiet").exit_code == 0
    monkeypatch.chdir("..")
    Path("outputs").rename("moved")
    Path("far").mkdir()
    shutil.move("moved/song.wav", "far/renamed.wav")
    missing = invoke("replay", "moved/painted.wav", "--quiet")
    assert missing.exit_code == 2
    assert "error: source: song.wav is missing, audio with digest " in missing.stderr
    assert "--sources FOLDER" in missing.stderr
    assert invoke("replay", "moved/painted.wav", "--quiet", "--sources", "far").exit_code == 0
    again = invoke("run", "--from", "moved/painted.wav", "--quiet")
    assert "--set source=FILE, or --sources FOLDER" in again.stderr
    for remedy in (["--sources", "far"], ["--set", "source=far/renamed.wav"]):
        assert invoke("run", "--from", "moved/painted.wav", "--quiet", *remedy).exit_code == 0


def test_a_plan_begins_with_a_recipe_as_a_run_does(invoke: Invoke) -> None:
    planned = invoke("graph", "plan", "repaint", "--from", "outputs/song.wav", *SPAN, "--json")
    assert planned.exit_code == 0, planned.output
    assert "from outputs/song.wav: repaint with source, tags, lyrics, seed, steps" in planned.stderr
    assert invoke("graph", "plan", "--from", "outputs/song.wav").exit_code == 0
    assert "no GRAPH; name one, or give --from FILE" in invoke("graph", "plan").stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--set", "tags=a"], "no GRAPH; name one, or give --from FILE"),
        (["retake", "--from", "nowhere.wav"], "nowhere.wav"),
        (["retake", "--from", "outputs/song.png"], "song.png: not readable as audio"),
        (["--from", "plain.txt"], "plain.txt: not readable as audio"),
        (["retake", "--from", "outputs/song.wav", "--set", "mood=x"], "mood: no such input"),
        (["repaint", "--from", "outputs/song.wav"], "span: missing"),
    ],
)
def test_what_cannot_begin_is_one_line(invoke: Invoke, args: list[str], message: str) -> None:
    Path("plain.txt").write_text("tags")
    result = invoke("run", *args, "--out", "new")
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if line.lower().startswith("error")]
    assert message in line
    assert not Path("new").exists()


def test_an_edit_of_latents_keeps_the_sound_of_the_file(invoke: Invoke) -> None:
    """The run starts from the latents beside the song, and outside of the span one hears the song."""
    assert invoke("run", "--from", "outputs/song.wav", "--keep", "latents", "--name", "first").exit_code == 0
    made = invoke("run", "repaint", "--from", "outputs/first.wav", *SPAN, "--name", "painted")
    assert made.exit_code == 0, made.output
    assert "encode_audio" not in made.stderr
    before, after = (read.audio(Path("outputs", f"{name}.wav")).samples for name in ("first", "painted"))
    same = round(0.1 * 48_000)
    assert np.array_equal(after[:, :same], before[:, :same])
    assert not np.array_equal(after, before)


def test_a_length_is_told_where_it_is_given_and_not_again(invoke: Invoke) -> None:
    def noted(*args: object) -> list[str]:
        result = invoke("run", *args)
        assert result.exit_code == 0, result.output
        return [line for line in result.stderr.splitlines() if " s asked" in line]

    assert len(noted("text2music", *QUICK, "--set", "seed=8", "--name", "new")) == 1
    assert noted("retake", "--from", "outputs/new.wav", "--set", "variance=0.3", "--name", "take") == []
    assert noted("--from", "outputs/take.wav") == []
    longer = ["--from", "outputs/take.wav", "--set", "right=0.5", "--name", "longer"]
    assert len(noted("extend", *longer)) == 1, "these seconds are new"
    assert len(noted("text2music", "--from", "outputs/take.wav", "--set", "duration=2")) == 1
    assert len(noted("extend", *[part.replace("take", "longer") for part in longer])) == 1


def test_quiet_says_nothing_at_all(invoke: Invoke) -> None:
    for args in (["text2music", *QUICK, "--set", "seed=7"], ["retake", "--from", "outputs/song.wav"]):
        result = invoke("run", *args, "--quiet")
        assert (result.exit_code, result.stderr) == (0, "")
    assert invoke("replay", "outputs/song.wav", "--quiet").stderr == ""
    assert "note: " in invoke("run", "text2music", *QUICK).stderr, "notes are back"
