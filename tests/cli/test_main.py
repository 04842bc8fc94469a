"""The command line from outside: what it writes, what it prints, and how it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from acestep_flows.audio import tags
from acestep_flows.cli import main as command_line
from acestep_flows.model.embedded import NAME
from acestep_flows.weights import hub
from tests.hub_server import HubServer, serve

Invoke = Callable[..., Result]

QUICK = ["--set", "tags=lofi", "--set", "duration=1", "--set", "steps=2"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that the tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def invoke(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    for name in ("ACESTEP_FLOWS_CHECKPOINT", "ACESTEP_FLOWS_LYRIC_VOCAB", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(command_line.cli, [str(arg) for arg in args])


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


# stages


def test_stages_are_listed_and_explained(invoke: Invoke) -> None:
    listed = invoke("stages")
    assert lines(listed.stdout)[0].startswith("encode_prompt ")
    told = invoke("stages", "mix").stdout
    assert "  stems: list of audio\n" in told
    assert "Highest true peak in dBTP. (-60 to 0; default `-1.0`)" in told
    assert invoke("stages", "--markdown").stdout.startswith("# Stages\n")


def test_an_unknown_stage_is_one_line(invoke: Invoke) -> None:
    result = invoke("stages", "mx")
    assert result.exit_code == 2
    assert lines(result.stderr) == [result.stderr.strip()]
    assert "no stage 'mx'; there are encode_prompt" in result.stderr


# run, replay


def test_a_run_writes_audio_picture_and_recipe(invoke: Invoke, tmp_path: Path) -> None:
    result = invoke("run", "text2music", *QUICK, "--set", "seed=7", "--out", tmp_path / "songs", "--format", "flac")
    assert result.exit_code == 0, result.output
    song, picture, recipe = (Path(line) for line in lines(result.stdout))
    assert [path.suffix for path in (song, picture, recipe)] == [".flac", ".png", ".json"]
    assert sorted((tmp_path / "songs").iterdir()) == sorted([song, picture, recipe])
    told = json.loads(recipe.read_text(encoding="utf-8"))
    assert told["inputs"]["seed"] == 7
    assert tags.read(song).recipe["inputs"] == told["inputs"]
    assert told["model"] == tags.read(song).recipe["model"] == NAME
    assert "acestep-nano" in result.stderr
    assert "] sampling: " in result.stderr


def test_files_take_the_name_asked_for(invoke: Invoke, tmp_path: Path) -> None:
    run = ["run", "text2music", *QUICK, "--set", "seed=7", "--name", "song", "--keep", "latents"]
    for _ in range(2):  # the second run replaces what the first one wrote
        assert invoke(*run).exit_code == 0
    written = sorted(path.name for path in (tmp_path / "outputs").iterdir())
    assert written == ["song-latents.safetensors", "song.json", "song.png", "song.wav"]


@pytest.mark.parametrize("name", ["../song", "a/b", ".hidden", "x" * 200])
def test_a_name_that_leads_elsewhere_is_refused(invoke: Invoke, tmp_path: Path, name: str) -> None:
    result = invoke("run", "text2music", *QUICK, "--name", name)
    assert result.exit_code == 2
    assert "--name: " in result.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("options", "written", "magic"),
    [
        (["--name", "beat.flac"], "outputs/beat.flac", b"fLaC"),
        (["--out", "songs/my.beat.OGG"], "songs/my.beat.ogg", b"OggS"),
        (["--out", "take.2", "--format", "flac", "--name", "v1.5"], "take.2/v1.5.flac", b"fLaC"),
    ],
)
def test_the_ending_of_a_name_is_the_format(
    invoke: Invoke, tmp_path: Path, options: list[str], written: str, magic: bytes
) -> None:
    result = invoke("run", "text2music", *QUICK, *options)
    assert result.exit_code == 0, result.stderr
    assert lines(result.stdout)[0] == written
    assert (tmp_path / written).read_bytes()[:4] == magic


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--name", "beat.mp3", "--format", "wav"],
            "--format: wav for files called 'beat.mp3' (allowed: mp3, or another --name)",
        ),
        (["--out", "songs/a.wav", "--name", "b"], "--out: 'songs/a.wav' names the file, and so does --name"),
        (
            ["--name", "beat.m4a"],
            "--name: 'beat.m4a': no m4a is written (allowed: a name that ends in .wav, ",
        ),
    ],
)
def test_names_that_contradict_are_refused_before_anything_runs(
    invoke: Invoke, tmp_path: Path, options: list[str], message: str
) -> None:
    result = invoke("run", "text2music", *QUICK, *options)
    assert result.exit_code == 2
    assert lines(result.stderr)[-1].startswith(f"error: {message}")
    assert not (tmp_path / "outputs").exists()


def test_the_help_of_run_says_what_lists_the_inputs_of_a_graph(invoke: Invoke) -> None:
    for command in (["run", "retake"], ["graph", "plan"]):
        shown = " ".join(invoke(*command, "--help").stdout.split())
        assert shown.endswith("`acestep-flows graph show GRAPH` lists the inputs of a graph, which --set gives.")


def test_the_same_run_again_computes_nothing_and_a_replay_computes_the_same(invoke: Invoke, tmp_path: Path) -> None:
    run = ["run", "text2music", *QUICK, "--set", "seed=8"]
    assert invoke(*run).exit_code == 0
    again = invoke(*run)
    assert all(line.endswith(": cached") for line in lines(again.stderr) if line.startswith("["))
    song = lines(again.stdout)[0]
    assert len(list((tmp_path / "outputs").iterdir())) == 6

    replayed = invoke("replay", song)
    assert replayed.exit_code == 0, replayed.output
    assert lines(replayed.stdout)[-1] == "every node gave the same"
    assert "cached" not in replayed.stderr
    assert len(list((tmp_path / "outputs").iterdir())) == 6


def test_a_replay_names_the_first_difference(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("run", "text2music", *QUICK, "--set", "seed=9", "--quiet").exit_code == 0
    (recipe,) = (tmp_path / "outputs").glob("*.json")
    told = json.loads(recipe.read_text(encoding="utf-8"))
    for node in told["nodes"]:
        if node["id"] in ("take", "song"):
            node["outputs"] = dict.fromkeys(node["outputs"], "else")
    recipe.write_text(json.dumps(told), encoding="utf-8")
    result = invoke("replay", recipe, "--quiet")
    assert result.exit_code == 1
    assert lines(result.stdout)[-1].startswith("first difference: node take (sample) differs in latents")


def test_latents_are_kept_on_request_and_taken_as_inputs(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "decode.yaml").write_text(
        "graph: decode\nversion: 1\ninputs: {latents: {type: latents}}\n"
        "nodes:\n  mel: {stage: decode_latents, with: {latents: $latents}}\n"
        "  song: {stage: vocode, with: {mel: $mel}}\n"
        "outputs: {audio: $song.audio}\n"
    )
    result = invoke("run", "text2music", *QUICK, "--set", "seed=7", "--keep", "latents")
    (latents,) = (line for line in lines(result.stdout) if line.endswith(".safetensors"))
    decoded = invoke("run", "decode.yaml", "--set", f"latents={latents}")
    assert decoded.exit_code == 0, decoded.output
    assert invoke("replay", lines(decoded.stdout)[-1]).exit_code == 0


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["text2musik"], 2, "no graph 'text2musik', did you mean text2music|no graph 'text2musik'"),
        (["nowhere.yaml"], 2, "no graph file 'nowhere.yaml'"),
        (["text2music"], 2, "tags: missing"),
        (["text2music", "--set", "tags="], 2, "tags"),
        (["text2music", "--set", "tags=   "], 2, "tags"),
        (["text2music", "--set", "tagz=x"], 2, "tagz: no such input; did you mean tags?"),
        (["text2music", "--set", "tags"], 2, "--set: 'tags' has no value"),
        (["text2music", *QUICK, "--set", "lyrics=@nowhere.txt"], 2, "lyrics: cannot read nowhere.txt"),
        (["text2music", *QUICK, "--set", "lyrics=\ud800"], 2, "lyrics: .*surrogate"),
        (["text2music", *QUICK, "--set", "lyrics=" + "la " * 40_000], 2, "lyrics"),
        (["text2music", *QUICK[:2], "--set", "duration=0"], 2, "duration: .*0.1 to 240"),
        (["text2music", *QUICK[:2], "--set", "duration=1e9"], 2, "duration: .*0.1 to 240"),
        (["text2music", *QUICK[:2], "--set", "duration=nan"], 2, "duration"),
        (["text2music", *QUICK[:2], "--set", "steps=0"], 2, "steps: .*1 to 200"),
        (["text2music", *QUICK[:2], "--set", "steps=2.5"], 2, "steps"),
        (["text2music", *QUICK, "--set", "seed=-1"], 2, "seed: .*0 to 4294967295"),
        (["text2music", *QUICK, "--set", f"seed={2**40}"], 2, "seed: .*0 to 4294967295"),
        (["text2music", *QUICK, "--set", "solver=rk4"], 2, "solver: .*euler"),
        (["text2music", *QUICK, "--keep", "stems"], 2, "--keep: no output 'stems'"),
        (["text2music", *QUICK, "--device", "tpu"], 2, "--device: no device 'tpu'"),
        (["text2music", *QUICK, "--checkpoint", "nowhere"], 3, "--checkpoint: no folder"),
        (["text2music", *QUICK, "--checkpoint", 300 * "n"], 2, "--checkpoint: a name of 300 bytes"),
        ([300 * "n", *QUICK], 2, "no graph 'nnn"),
        (["text2music", *QUICK, "--graphs", 300 * "n"], 2, "is no folder"),
        (["text2music", *QUICK, "--checkpoint", "."], 3, "no file ace_step_transformer"),
        (["text2music", *QUICK, "--lyric-vocab", "nowhere"], 2, "nowhere"),
        (["text2music", *QUICK, "--out", "file/songs"], 4, "file/songs: cannot be created"),
        (["text2music", *QUICK, "--format", "aiff"], 2, "aiff"),
        (["text2music", *QUICK, "--graphs", "nowhere"], 2, "nowhere"),
        (["text2music", *QUICK, "--deadline", "0"], 2, "deadline"),
        (["text2music", *QUICK, "--deadline", "1e-6", "--cache", "off"], 7, "deadline"),
        (["text2music", *QUICK, "--nonsense"], 2, "nonsense"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(
    invoke: Invoke, tmp_path: Path, args: list[str], code: int, message: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = invoke("run", *args, "--quiet")
    assert result.exit_code == code, result.output
    besides = ("weights: ", "note: 0.93 s of the 1 s asked")
    told = [line for line in lines(result.stderr) if not line.startswith(besides)]
    assert len(told) == 1
    assert told[0].lower().startswith("error: ")
    assert re.search(message, told[0])
    assert not list((tmp_path / "outputs").glob("*")) if (tmp_path / "outputs").exists() else True


@pytest.mark.parametrize("args", [["graphs"], ["run", "text2music", *QUICK], ["graph", "show", "repaint"]])
def test_a_working_folder_that_is_gone_is_one_line(invoke: Invoke, tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        result = invoke(*args)
    finally:
        os.chdir(tmp_path)
    assert result.exit_code == 2
    assert lines(result.stderr) == ["error: the working folder does not exist any more; change to a folder that does"]


def test_ctrl_c_ends_in_a_line_and_leaves_nothing_behind(cache: Path, tmp_path: Path) -> None:
    args = ["run", "text2music", *QUICK[:2], "--set", "duration=60", "--set", "steps=200", "--cache", "off"]
    code = """
from acestep_flows.cli import main
from acestep_flows.session import progress
progress.PLAIN_SECONDS = 0.0
main.main()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, *args, "--out", tmp_path / "songs"],
        env={"ACESTEP_FLOWS_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("sampling, step"):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert lines(rest)[-1] == "interrupted"
    assert "Traceback" not in rest
    assert not list((tmp_path / "songs").iterdir())


# graphs, graph


def test_graphs_are_listed(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "mine.yaml").write_text("graph: mine\nversion: 1\nsummary: Of my own.\n")
    (tmp_path / "graphs" / "odd.yaml").write_text("[")
    listed = dict(line.split(None, 1) for line in lines(invoke("graphs").stdout))
    assert list(listed)[-5:] == ["as-audio", "as-latents", "continue-step", "decode", "edit-step"]  # building blocks
    assert listed["mine"] == "Of my own."
    assert listed["odd"] == "(not readable)"
    assert "text2music" in listed


def test_a_graph_is_shown(invoke: Invoke, tmp_path: Path) -> None:
    shown = invoke("graph", "show", "text2music").stdout
    assert "Comma-separated tags" in shown
    schema = json.loads(invoke("graph", "show", "text2music", "--json").stdout)
    assert schema["properties"]["duration"]["maximum"] == 240
    assert invoke("graph", "show", "text2music", "--dot").stdout.startswith("digraph")
    assert invoke("graph", "show", "text2music", "--mermaid").stdout.startswith("flowchart")
    result = invoke("graph", "show", "text2music", "--png", tmp_path / "g.png")
    assert result.stdout.strip() == str(tmp_path / "g.png")
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")


def test_graphs_are_checked_all_problems_at_once(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("graph", "check", "text2music", "repaint").stdout == "2 graphs without problems\n"
    broken = "graph: broken\nversion: 1\nnodes: {a: {stage: vocod, with: {}}, b: {stage: trim, with: {loud: 1}}}\n"
    (tmp_path / "broken.yaml").write_text(broken)
    result = invoke("graph", "check", "text2music", "broken.yaml")
    assert result.exit_code == 2
    told = lines(result.stderr)
    assert len(told) >= 3
    assert all(line.startswith("error: broken.yaml:") for line in told)
    assert "vocode" in result.stderr


def test_a_dry_run_says_what_would_be_computed(invoke: Invoke) -> None:
    fresh = invoke("graph", "plan", "text2music", *QUICK, "--set", "seed=70")
    assert fresh.exit_code == 0, fresh.output
    assert "take    sample          computed" in fresh.stdout
    assert invoke("run", "text2music", *QUICK, "--set", "seed=70").exit_code == 0
    again = invoke("graph", "plan", "text2music", *QUICK, "--set", "seed=71").stdout
    assert re.search(r"nodes, \d to compute: about [\d.]+ s, in proportion to earlier songs\n", again)
    known = invoke("graph", "plan", "text2music", *QUICK, "--set", "seed=70")
    assert "6 nodes, 0 to compute" in known.stdout
    assert invoke("graph", "plan", "text2music", *QUICK[:2], "--set", "steps=0").exit_code == 2


# fetch, doctor


@pytest.fixture
def small_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    body, vocab = b"weights" * 1000, b'{"a": 1}'
    sha = hashlib.sha256(b'{"a":1}').hexdigest()
    what = hub.PublishedFiles(
        "some/model",
        "model",
        "0123456789",
        (hub.PublishedFile("part/w.safetensors", len(body), hashlib.sha256(body).hexdigest()),),
        hub.PublishedVocab("some/demo", "space", "main", ("v.json",), sha),
    )
    monkeypatch.setattr(hub, "published", lambda: what)
    paths = ("/some/model/resolve/0123456789/part/w.safetensors", "/spaces/some/demo/resolve/main/v.json")
    with serve(HubServer(dict(zip(paths, (body, vocab), strict=True)))) as server:
        yield server


def test_fetch_brings_the_model_to_the_cache(invoke: Invoke, small_model: HubServer, cache: Path) -> None:
    result = invoke("fetch", "--endpoint", small_model.url)
    assert result.exit_code == 0, result.output
    folder = cache / "checkpoints" / "model-01234567"
    assert lines(result.stdout) == [str(folder)]
    assert (folder / "part" / "w.safetensors").stat().st_size == 7000
    assert "download part/w.safetensors" in result.stderr


def test_fetch_never_shows_the_token(
    invoke: Invoke, small_model: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    small_model.statuses = [401]
    result = invoke("fetch", "--endpoint", small_model.url, "--to", tmp_path / "m")
    assert result.exit_code == 5
    assert len(lines(result.stderr)) == 1
    assert small_model.requests[0][1]["authorization"] == "Bearer hf_secret"
    assert "hf_secret" not in result.output


def test_fetch_says_when_there_is_nothing(invoke: Invoke, small_model: HubServer, tmp_path: Path) -> None:
    small_model.files.clear()
    result = invoke("fetch", "--endpoint", small_model.url, "--to", tmp_path / "m", "--quiet")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: the lyric vocabulary is not in the space some/demo at v.json")


def test_the_doctor_is_content_here_and_not_with_a_broken_checkpoint(invoke: Invoke, tmp_path: Path) -> None:
    well = invoke("doctor", "--checkpoint", "embedded")
    assert well.exit_code == 0, well.output
    assert "audio ogg" in well.stdout
    ill = invoke("doctor", "--checkpoint", tmp_path)
    assert ill.exit_code == 1
    assert "-> acestep-flows fetch" in ill.stdout


def test_help_covers_every_command(invoke: Invoke) -> None:
    shown = invoke("--help").stdout
    for name in ("run", "fetch", "doctor", "graphs", "graph", "replay"):
        assert f"\n  {name} " in shown
        assert invoke(name, "--help").exit_code == 0
    assert "130 interrupted" in shown.replace("\n  ", " ")


# words people type


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["text2music"], "tags: missing; give it as --set tags=... or tags=@FILE"),
        (["text2music", "--set", "length=5"], "length: no such input; did you mean duration: Length of the song?"),
        (["text2music", "--set", "bpm=90"], "bpm: no such input; did you mean tags: the bpm is among its words?"),
        (
            ["remix", "--set", "style=folk"],
            "style: no such input; did you mean new_tags: the style is among its words?",
        ),
        (
            ["edit-lyrics", "--set", "words=la"],
            "words: no such input; did you mean new_lyrics: The words it shall have?",
        ),
        (
            ["song.wav"],
            "song.wav: an audio file, not a graph (allowed: a graph's name or YAML file; the recipe in a song",
        ),
        (["batch-takes", "--set", "tags=pop"], "seeds: missing; give it as --set seeds=1,2,3 or seeds=1..3"),
        (["batch-takes", "--set", "tags=pop", "--set", "seeds="], "seeds: empty (allowed: seeds=1,2,3 or seeds=1..3)"),
        (
            ["text2music", "--set", "tags=pop", "--set", "duration=1,500"],
            "duration: '1,500' can be read as 1.5 or as 1500",
        ),
        (
            ["text2music", "--set", "tags=pop", "--set", "duration=5:00"],
            "duration: 5:00 is 300 s (allowed: 0.1 to 240 s)",
        ),
    ],
)
def test_inputs_are_asked_for_as_they_are_written(invoke: Invoke, args: list[str], message: str) -> None:
    result = invoke("graph", "plan", *args)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")


def test_a_file_without_its_at_sign_is_told(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "song.txt").write_text("la")
    result = invoke("graph", "plan", "text2music", "--set", "tags=pop", "--set", "lyrics=song.txt")
    assert "warning: lyrics: 'song.txt' is a file; write lyrics=@song.txt to read it\n" in result.stderr


def test_the_recipe_keeps_what_was_told_of_texts_as_they_were_typed(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "song.txt").write_text("la")
    told = "lyrics: 'song.txt' is a file; write lyrics=@song.txt to read it"
    run = invoke("run", "text2music", *QUICK, "--set", "lyrics=song.txt", "--set", "seed=7", "--name", "song")
    assert told in run.stderr
    assert told in json.loads((tmp_path / "outputs" / "song.json").read_text(encoding="utf-8"))["notes"]
    again = invoke("run", "--from", "outputs/song.wav", "--set", "lyrics=song.txt", "--name", "again")
    assert told in json.loads((tmp_path / "outputs" / "again.json").read_text(encoding="utf-8"))["notes"]
    assert again.exit_code == 0


def test_a_graph_shows_how_its_lists_and_spans_are_written(invoke: Invoke) -> None:
    assert "--set span=4:7 (start:end in seconds)" in invoke("graph", "show", "repaint").stdout
    assert '--set sections=\'["first", "second"]\' or sections=@FILE' in invoke("graph", "show", "long-form").stdout
    assert "On the command line" not in invoke("graph", "show", "text2music").stdout
