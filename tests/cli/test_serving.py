"""The commands that ask a server, against one that answers as told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from acestep_flows.audio import tags, write
from acestep_flows.cli.main import cli
from acestep_flows.graph.library import load
from acestep_flows.graph.views.schema import input_schema
from acestep_flows.values import Audio
from tests.client.stub import RUN, Answer, Request, Stub, event, fault, json_answer, run, serving

NODES = [{"id": "take", "stage": "sample", "state": "started", "step": 3, "steps": 9}]
SONG = b"a song"
OUTPUT = {"url": "/", "content_type": "audio/flac", "bytes": len(SONG), "kind": "audio", "file_name": "song.flac"}
DONE = run("succeeded", nodes=NODES, outputs={"audio": OUTPUT, "report": OUTPUT | {"kind": "report"}})


def answer(request: Request) -> Answer:
    path = request.path.partition("?")[0]
    if path == "/v1/graphs/text2music":
        return json_answer({"inputs": input_schema(load("text2music"))})
    if request.method == "POST":
        return json_answer(run("queued", queue_position=2, warnings=["mind the gap"]), 202)
    if request.method == "DELETE":
        return json_answer(run("running"), 202)
    if path.endswith("/events"):
        happened = [event(1, "started"), event(2, "started", "take"), event(3, "finished", "take", seconds=1.5)]
        return Answer(200, b"".join([*happened, event(4, "succeeded")]))
    if path.endswith("/outputs/audio"):
        return Answer(200, SONG)
    return json_answer({"runs": [DONE], "next": None} if path == "/v1/runs" else DONE)


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving(Stub(answer)) as stub:
        yield stub


@pytest.fixture
def invoke(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACESTEP_FLOWS_SERVER", stub.url)
    monkeypatch.setenv("ACESTEP_FLOWS_API_KEY", "af_key")
    return lambda *args: CliRunner().invoke(cli, [str(arg) for arg in args])


def test_submit_prints_the_id_and_sends_the_inputs_typed(invoke: Callable[..., Result], stub: Stub) -> None:
    result = invoke(
        "submit", "text2music", "--set", "tags=lo-fi", "--set", "steps=9", "--priority", 3, "--cache", "off"
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{RUN}\n"
    assert result.stderr == "warning: mind the gap\n"
    sent = stub.requests[-1].json()
    assert sent["inputs"] == {"tags": "lo-fi", "steps": 9}
    assert (sent["graph"], sent["priority"], sent["cache"], sent["format"]) == ("text2music", 3, "off", "flac")
    assert "webhook" not in sent
    assert stub.requests[-1].headers["authorization"] == "Bearer af_key"


def test_submit_takes_a_graph_of_ones_own(invoke: Callable[..., Result], stub: Stub, tmp_path: Path) -> None:
    content = {"graph": "mine", "version": 1, "inputs": {"n": {"type": "int"}}, "nodes": {}, "outputs": {}}
    (tmp_path / "mine.yaml").write_text(json.dumps(content))
    assert invoke("submit", "mine.yaml", "--set", "n=3", "--webhook", "https://a.example/h").exit_code == 0
    sent = stub.requests[-1].json()
    assert sent["graph"]["graph"] == "mine"
    assert sent["inputs"] == {"n": 3}
    assert sent["webhook"] == {"url": "https://a.example/h"}


def test_submit_and_watch_show_every_node(invoke: Callable[..., Result]) -> None:
    result = invoke("submit", "text2music", "--set", "tags=x", "--watch")
    assert result.exit_code == 0, result.output
    shown = result.stderr.splitlines()
    assert shown == [
        "warning: mind the gap",
        "2 runs are before it",
        "[1/1] take: 1.5 s",
        "succeeded: audio, report",
    ]
    assert invoke("watch", RUN, "--quiet").output == ""


def test_watch_ends_as_the_run_ended(invoke: Callable[..., Result], stub: Stub) -> None:
    error = {"code": "stage_failed", "message": "node take: out of memory", "node": "take"}
    stub.answers = [json_answer(run()), Answer(200, event(1, "failed")), json_answer(run("failed", error=error))]
    result = invoke("watch", RUN)
    assert result.exit_code == 6
    assert result.stderr == "error: node take: out of memory\n"


def test_watch_keeps_the_latest_preview_of_every_node(
    invoke: Callable[..., Result], stub: Stub, tmp_path: Path
) -> None:
    heard = {"step": 4, "steps": 9}
    happened = [event(1, "started"), event(2, "preview", "takes[0]", **heard), event(3, "preview", "takes[1]", **heard)]
    stub.answers = [json_answer(DONE), Answer(200, b"".join([*happened, event(4, "succeeded")])), json_answer(DONE)]
    stub.answers += [Answer(200, SONG), fault("not_found", "it is long over", 404)]
    result = invoke("watch", RUN, "--previews", tmp_path / "heard")
    assert result.exit_code == 0, result.output
    (file,) = (tmp_path / "heard").iterdir()
    assert (file.name, file.read_bytes()) == (f"{RUN}-takes-0.wav", SONG)
    assert f"{file}: as it sounds after step 4 of 9" in result.stderr
    assert invoke("submit", "text2music", "--set", "tags=x", "--preview-every", 5).exit_code == 0
    assert stub.requests[-1].json()["preview_every"] == 5
    assert invoke("submit", "text2music", "--preview-every", 0).exit_code == 2


def test_status_of_one_and_of_all(invoke: Callable[..., Result]) -> None:
    shown = invoke("status", RUN).stdout.splitlines()
    assert shown[0].split() == [RUN, "text2music", "succeeded", "0%"]
    assert shown[1].split() == ["take", "sample", "started", "step", "3", "of", "9"]
    assert [line.split()[0] for line in shown[2:]] == ["audio", "report"]
    listed = invoke("status").stdout.split()
    assert listed[:3] == [RUN, "text2music", "succeeded"]
    assert listed[4].endswith("Z")
    assert json.loads(invoke("status", RUN, "--json").stdout)["later"] == 1


def test_status_of_a_run_in_a_paused_queue_promises_no_time(invoke: Callable[..., Result], stub: Stub) -> None:
    waiting = run("queued", queue_position=1, estimate=5.0)
    stub.answers = [json_answer(waiting), json_answer({"paused": {"since": "2026-03-01T12:00:00Z"}})]
    paused = invoke("status", RUN)
    assert paused.stderr == "the queue is paused: runs wait until the operator resumes it\n"
    assert paused.stdout.splitlines()[1:] == ["1 run is before it"]
    stub.answers = [json_answer(waiting), json_answer({"paused": None})]
    assert invoke("status", RUN).stdout.splitlines()[1:] == ["1 run is before it", "about 5 s to go"]


def test_status_without_runs_says_so(invoke: Callable[..., Result], stub: Stub) -> None:
    stub.answers = [json_answer({"runs": [], "next": None})]
    assert invoke("status").stdout == "no runs\n"


def test_answers_of_the_server_as_json(invoke: Callable[..., Result], tmp_path: Path) -> None:
    assert json.loads(invoke("submit", "text2music", "--set", "tags=x", "--json").stdout)["id"] == RUN
    assert json.loads(invoke("cancel", RUN, "--json").stdout)["id"] == RUN
    fetched = invoke("fetch-output", RUN, "--out", "songs", "--quiet", "--json")
    assert json.loads(fetched.stdout) == {"audio": "songs/song.flac"}


def test_inputs_for_a_server_are_read_as_for_a_run_here(invoke: Callable[..., Result], stub: Stub) -> None:
    given = ["--set", "tags=x", "--set", "duration=1:30"]
    assert invoke("submit", "text2music", *given).exit_code == 0
    assert stub.requests[-1].json()["inputs"]["duration"] == 90
    missing = invoke("submit", "text2music")
    assert (missing.exit_code, missing.stderr) == (2, "error: tags: missing; give it as --set tags=... or tags=@FILE\n")


def test_status_says_why_runs_wait(invoke: Callable[..., Result], stub: Stub) -> None:
    stub.answers = [json_answer({"runs": [run("queued")], "next": None}), json_answer({"paused": True})]
    assert invoke("status").stderr == "the queue is paused: runs wait until the operator resumes it\n"
    stub.answers = [json_answer(run("queued")), json_answer({"paused": False})]
    assert invoke("status", RUN).stderr == ""


def test_fetch_output_fetches_the_audio_unless_told_otherwise(
    invoke: Callable[..., Result], stub: Stub, tmp_path: Path
) -> None:
    result = invoke("fetch-output", RUN, "--out", "songs", "--quiet")
    assert result.output == "songs/song.flac\n"
    assert (tmp_path / "songs" / "song.flac").read_bytes() == SONG
    stub.answers = [json_answer(run("running"))]
    early = invoke("fetch-output", RUN)
    assert early.exit_code == 2
    assert "there are: none, it is running" in early.stderr


def test_fetch_output_writes_the_file_that_is_named_in_its_format(
    invoke: Callable[..., Result], stub: Stub, tmp_path: Path
) -> None:
    result = invoke("fetch-output", RUN, "--out", "songs/night.mp3", "--quiet")
    assert result.output == "songs/night.mp3\n"
    assert (tmp_path / "songs" / "night.mp3").read_bytes() == SONG
    assert stub.requests[-1].path.endswith("/outputs/audio?format=mp3")
    two = invoke("fetch-output", RUN, "audio", "latents", "--out", "songs/night.mp3")
    assert two.exit_code == 2
    assert "--out: 'songs/night.mp3' is one file, but there are 2 outputs" in two.stderr


def test_cancel_says_what_became_of_it(invoke: Callable[..., Result], stub: Stub) -> None:
    assert invoke("cancel", RUN).output == f"{RUN} stops at its next step\n"
    stub.answers = [json_answer(run("cancelled"), 202)]
    assert invoke("cancel", RUN).output == f"{RUN} cancelled\n"


def test_refusals_end_in_one_line(invoke: Callable[..., Result], stub: Stub) -> None:
    stub.answers = [fault("not_found", "no run 'x'", 404)]
    result = invoke("status", "x")
    assert (result.exit_code, result.stderr) == (2, "error: no run 'x'\n")
    wrong = invoke("submit", "text2music", "--set", "tagz=x")
    assert (wrong.exit_code, wrong.stderr[:40]) == (2, "error: tagz: no such input; did you mean")
    assert invoke("status", "--server", "nowhere").exit_code == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--pool", "nowhere.yaml"], "no pool 'nowhere.yaml'"),
        (["--host", "0.0.0.0"], "without API keys"),
        (["--host", "no.such.host.invalid"], "--host"),
        (["--public-url", "music.example.org"], "--public-url"),
        (["--public-url", "https://music.example.org/?a=b"], "--public-url"),
    ],
)
def test_serve_refuses_before_it_starts_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, args: list[str], message: str
) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    for name in ("ACESTEP_FLOWS_API_KEYS", "ACESTEP_FLOWS_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(cli, ["serve", "--home", "home", *args])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_key_is_printed_once_and_kept_as_its_digest(tmp_path: Path) -> None:
    def invoke(*args: str, **environ: str) -> Result:
        return CliRunner().invoke(cli, ["key", *args], env=environ)

    file = tmp_path / "keys.json"
    made = invoke("alice", "--file", str(file), "--runs", "3")
    assert made.exit_code == 0, made.output
    key = made.stdout.strip()
    (kept,) = json.loads(file.read_text())["keys"]
    assert kept == {"name": "alice", "sha256": hashlib.sha256(key.encode()).hexdigest(), "runs": 3}
    assert invoke("bob", ACESTEP_FLOWS_API_KEY_FILE=str(file)).exit_code == 0
    again = invoke("alice", "--file", str(file))
    assert (again.exit_code, again.stdout) == (2, "")
    assert "has a key already" in again.stderr
    assert "no key file" in invoke("carol", ACESTEP_FLOWS_API_KEY_FILE="").stderr


def song(folder: Path, graph: str, inputs: dict[str, object]) -> Path:
    """A song with the recipe of a run in its tags."""
    recipe = {"recipe": 1, "graph": {"name": graph, "digest": ""}, "inputs": inputs, "outputs": {}}
    path = folder / "song.wav"
    return write.audio(path, Audio(np.zeros((2, 9600), np.float32), 48_000), tags=tags.Tags(recipe)).path


def test_submit_begins_with_the_recipe_of_a_song(invoke: Callable[..., Result], stub: Stub, tmp_path: Path) -> None:
    file = song(tmp_path, "text2music", {"tags": "pop", "seed": 7, "steps": 9, "mood": "x"})
    result = invoke("submit", "--from", file, "--set", "steps=4")
    assert result.exit_code == 0, result.output
    sent = stub.requests[-1].json()
    assert (sent["graph"], sent["inputs"]) == ("text2music", {"tags": "pop", "seed": 7, "steps": 4})
    assert f"from {file}: text2music with tags, seed\n" in result.stderr
    assert "not taken over: mood x" in result.stderr
    assert invoke("submit").exit_code == 2


def test_a_refused_submission_is_all_that_is_told(invoke: Callable[..., Result], stub: Stub, tmp_path: Path) -> None:
    def refusing(request: Request) -> Answer:
        if request.method == "POST":
            message = "webhook.url: a private address (allowed: a public one)"
            return fault("invalid_input", message, 422, field="webhook.url", allowed="a public one")
        return answer(request)

    stub.otherwise = refusing
    file = song(tmp_path, "text2music", {"tags": "pop", "seed": 7, "mood": "x"})
    refused = invoke("submit", "--from", file, "--webhook", "http://10.0.0.1/h")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == "error: webhook: a private address (allowed: a public one)\n"


def test_submit_goes_on_from_a_song_and_uploads_it(invoke: Callable[..., Result], stub: Stub, tmp_path: Path) -> None:
    asset = "asset-0123456789abcdef0123456789"

    def with_repaint(request: Request) -> Answer:
        if request.path.startswith("/v1/graphs/repaint"):
            return json_answer({"inputs": input_schema(load("repaint"))})
        if request.path.startswith("/v1/assets"):
            return json_answer({"id": asset, "kind": "audio", "content_type": "audio/wav", "bytes": 1}, 201)
        return answer(request)

    stub.otherwise = with_repaint
    file = song(tmp_path, "text2music", {"tags": "pop", "seed": 7})
    submitted = invoke("submit", "repaint", "--from", file, "--set", "span=0:0.1")
    assert submitted.exit_code == 0, submitted.output
    assert f"from {file}: repaint with source, tags, seed; source is the sound of song.wav\n" in submitted.stderr
    sent = stub.requests[-1].json()["inputs"]
    assert sent == {"source": asset, "tags": "pop", "seed": 7, "span": [0.0, 0.1]}
    stored = {"value": ["audio", "d" * 64]}
    recipe = {"source": stored, "tags": "pop", "span": {"value": ["span", "x"], "fields": {"start": 0, "end": 1}}}
    content = {"recipe": 1, "graph": {"name": "repaint", "digest": ""}, "inputs": recipe}
    (tmp_path / "edit.json").write_text(json.dumps(content | {"files": {"d" * 64: f"asset:{asset}"}}))
    assert invoke("submit", "--from", "edit.json").exit_code == 0
    sent = stub.requests[-1].json()["inputs"]
    assert sent == {"source": asset, "tags": "pop", "span": {"start": 0, "end": 1}}


def test_submit_tells_all_that_is_wrong_and_what_is_meant(invoke: Callable[..., Result], stub: Stub) -> None:
    stub.otherwise = lambda request: json_answer({"inputs": input_schema(load("extend"))})
    given = ["after=5", "steps=900", "left=5:00", "keep=all"]
    result = invoke("submit", "extend", *(part for one in given for part in ("--set", one)))
    assert result.exit_code == 2
    unknown, steps, left, keep, *missing = result.stderr.splitlines()
    assert unknown.startswith("error: after: no such input; did you mean right: Seconds to add after? (allowed: source")
    assert "advanced ones)" in unknown
    assert steps == "error: steps: 900 (allowed: 1 to 200)"
    assert left == "error: left: 5:00 is 300 s (allowed: 0 to 239 s)"
    assert keep.startswith("error: keep: all (allowed: samples, latents")
    assert [line.partition(" missing")[0] for line in missing] == ["error: source:", "error: tags:"]
    assert len(stub.requests) == 1


def test_labels_of_runs(invoke: Callable[..., Result], stub: Stub) -> None:
    given = ["--label", "title=Night bus", "--label", "note=a=b"]
    assert invoke("submit", "text2music", "--set", "tags=x", *given).exit_code == 0
    assert stub.requests[-1].json()["labels"] == {"title": "Night bus", "note": "a=b"}
    assert invoke("submit", "text2music", "--set", "tags=x").exit_code == 0
    assert "labels" not in stub.requests[-1].json()
    wrong = invoke("submit", "text2music", "--set", "tags=x", "--label", "title")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("error: --label: 'title' (allowed: NAME=TEXT")
    assert invoke("status", "--label", "title=Night bus", "--label", "star").exit_code == 0
    assert "label=title%3ANight%20bus&label=star" in stub.requests[-1].path.replace("+", "%20")
    assert invoke("status", RUN, "--label", "star").exit_code == 2
