"""The in-process door as a Python API, from scripts, notebooks, async code and threads."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from acestep_flows import Audio, FlowsError, Latents, Session
from acestep_flows.audio import read, tags, write
from acestep_flows.cli.main import cli
from acestep_flows.errors import Cancelled, CheckpointError, DeadlineExceeded, GraphError, InputError, NotFound
from acestep_flows.graph.execution.events import Event
from acestep_flows.graph.library import shipped
from acestep_flows.session import Result, RunHandle, Song
from tests.stages.material import tone

WORDS: dict[str, Any] = {"tags": "pop, drums", "lyrics": "[verse]\nhello"}
SONG: dict[str, Any] = {**WORDS, "duration": 1, "steps": 2, "seed": 7}
LONG: dict[str, Any] = {**WORDS, "duration": 30, "steps": 200, "seed": 1}
SOURCE = tone(1.0)
DECODE = """
graph: my-decode
version: 1
inputs: {latents: {type: latents}}
nodes:
  mel: {stage: decode_latents, with: {latents: $latents}}
  song: {stage: vocode, with: {mel: $mel}}
outputs: {audio: $song.audio}
"""
NESTING = """
graph: nesting
version: 1
nodes: {inner: {graph: text2music, with: {tags: pop, duration: 1, steps: 1}}}
outputs: {audio: $inner.audio}
"""
CLASHING = """
graph: clashing
version: 1
inputs: {cache: {type: text}, progress: {type: bool, default: false}, source: {type: audio}}
nodes: {cut: {stage: trim, with: {audio: $source, span: [0, 0.5]}}}
outputs: {audio: $cut.audio, cache: $cache, progress: $progress}
"""


@pytest.fixture(scope="module")
def session(small_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with Session(small_root, cache_folder=tmp_path_factory.mktemp("results")) as session:
        yield session


@pytest.fixture(scope="module")
def result(session: Session) -> Result:
    return session.run("text2music", **SONG)


def when_sampling(act: Callable[[], object]) -> Callable[[Event], None]:
    """A progress callback that acts once, at the first step of sampling."""
    done = threading.Event()

    def hear(event: Event) -> None:
        if event.type == "progress" and not done.is_set():
            done.set()
            act()

    return hear


# What a run gives.


def test_a_result_holds_samples_latents_report_and_seeds(result: Result) -> None:
    assert isinstance(result.audio, Audio)
    assert result.audio.samples.dtype == np.float32
    assert result.audio.samples.shape == (2, round(result.audio.seconds * result.audio.sample_rate))
    assert result.audio.seconds == pytest.approx(1.0, abs=0.1)
    assert isinstance(result.latents, Latents)
    assert result["report"] is result.report is result.outputs["report"]
    assert result.report.entries["seed"] == result.seeds["noise.seed"] == result.inputs["seed"] == 7
    assert result.recipe.graph.name == result.graph == "text2music"
    assert repr(result).startswith("<Result of text2music: audio, latents, report, 0.9 s of audio; took ")
    assert "\n" not in repr(result) + repr(result.audio)
    assert {"audio", "latents", "save"} <= set(dir(result))


def test_an_output_that_is_not_there_is_named_with_those_that_are(result: Result) -> None:
    with pytest.raises(NotFound, match="no output 'latent', nearest 'latents'; allowed: audio, latents, report"):
        result["latent"]
    with pytest.raises(AttributeError, match="no output 'latent', nearest 'latents'"):
        result.latent  # noqa: B018
    assert not hasattr(result, "mel")


def test_a_drawn_seed_is_told_and_makes_the_same_song_again(session: Session) -> None:
    drawn = session.run("text2music", **WORDS, duration=1, steps=2)
    again = session.run("text2music", **drawn.inputs, cache="off")
    assert again.audio == drawn.audio
    assert again.seeds == drawn.seeds


def test_seeds_of_nested_graphs_are_given_back_too(session: Session) -> None:
    first = session.run(NESTING)
    assert "inner.seed" in first.inputs
    again = session.run(NESTING, inputs=first.inputs, cache="off")
    assert again.audio == first.audio


def test_the_same_seed_is_the_same_song_on_the_command_line(
    result: Result, small_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACESTEP_FLOWS_CACHE", str(tmp_path / "cache"))
    options = [word for name, value in SONG.items() for word in ("--set", f"{name}={value}")]
    place = ["--checkpoint", str(small_root), "--out", str(tmp_path / "cli"), "--name", "song", "--quiet"]
    done = CliRunner().invoke(cli, ["run", "text2music", *options, *place])
    assert done.exit_code == 0, done.output
    result.save(tmp_path / "python", name="song")
    ours, theirs = (read.audio(tmp_path / folder / "song.wav") for folder in ("python", "cli"))
    assert ours == theirs
    outputs = [json.loads((tmp_path / folder / "song.json").read_text())["outputs"] for folder in ("python", "cli")]
    assert outputs[0] == outputs[1]


# Files and notebooks.


def test_a_result_is_saved_to_a_folder_or_as_a_file(result: Result, tmp_path: Path) -> None:
    folder = result.save(tmp_path / "songs", name="night", keep=["latents"])
    assert [path.name for path in folder] == ["night.wav", "night.png", "night-latents.safetensors", "night.json"]
    file = result.save(str(tmp_path / "songs" / "day.flac"))
    assert [path.name for path in file] == ["day.flac", "day.png", "day.json"]
    assert all(path.is_file() for path in folder + file)
    assert tags.read(folder[0]).recipe["graph"]["name"] == "text2music"
    unnamed = result.save(tmp_path, format="ogg")
    assert unnamed[0].suffix == ".ogg"
    assert unnamed[0].name.startswith("text2music-")


def test_a_song_is_saved_with_its_recipe(result: Result, tmp_path: Path) -> None:
    path = result.audio.save(tmp_path / "a.ogg")
    assert path == tmp_path / "a.ogg"
    assert tags.read(path).recipe["inputs"]["seed"] == 7
    assert tags.read(path).statement


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("a.aiff", {}, r"no audio format '.aiff' \(allowed: a folder, or a file that ends in .wav, .flac"),
        ("songs", {"format": "aac"}, "format: no format 'aac'"),
        ("songs", {"keep": ["latent"]}, "keep: no output 'latent', nearest 'latents'"),
        ("songs", {"name": "../x"}, "name: '../x'"),
        ("a.wav", {"name": "x"}, "name: given beside a file"),
        ("a.wav", {"format": "ogg"}, "format: ogg for a file that ends in .wav"),
    ],
)
def test_what_cannot_be_saved_is_one_line(
    result: Result, tmp_path: Path, path: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        result.save(tmp_path / path, **options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_gets_a_player_and_a_picture(result: Result) -> None:
    for shown in (result._repr_html_(), result.audio._repr_html_()):
        assert shown.count('<audio controls preload="metadata" src="data:audio/mpeg;base64,') == 1
        assert shown.count('src="data:image/png;base64,iVBOR') == 1
    assert "&lt;Result of text2music" in result._repr_html_()


def test_lists_of_songs_are_songs_too(session: Session) -> None:
    takes = session.run("batch-takes", **WORDS, duration=1, steps=1, seeds=[1, 2])
    assert [type(take) for take in takes.audio] == [Song, Song]
    assert takes._repr_html_().count("<audio ") == 2


# Graphs in every form, inputs in every form.


def shipped_inputs(result: Result) -> dict[str, dict[str, Any]]:
    """Inputs for every shipped graph."""
    edit = {**WORDS, "steps": 3, "seed": 1, "source": result.audio}
    short = {**WORDS, "duration": 1, "steps": 2, "seed": 1}
    quick = {"steps": 2, "seed": 1}
    return {
        "text2music": short,
        "batch-takes": {**WORDS, "duration": 1, "steps": 2, "seeds": np.array([1, 2])},
        "best-of": {**WORDS, "duration": 1, "steps": 2, "seeds": (1, 2), "by": "rms_dbfs"},
        "retake": {**short, "variance": 0.5},
        "variation-in-span": {**edit, "span": (0.2, 0.6)},
        "repaint": {**edit, "span": np.array([0.2, 0.6])},
        "audio2audio": {**short, "reference": SOURCE, "strength": np.float32(0.5)} | {"duration": None},
        "extend": {**edit, "right": 1},
        "long-form": {"tags": "pop", "sections": ["[outro]"], "seconds": 2, "steps": 1, "seed": 1},
        "edit-lyrics": {**edit, "new_lyrics": "[verse]\ngoodbye"},
        "edit-step": {
            **{"tags": "pop", "new_tags": "rock", "lyrics": "", "new_lyrics": ""},
            **{"latents": result.latents, **quick},
        },
        "continue-step": {**WORDS, **quick, "latents": result.latents, "seconds": 1},
        "lyric-chain": {**edit, "edits": ["[verse]\ngoodbye"]},
        "remix": {**edit, "new_tags": "metal"},
        "decode": {"latents": result.latents.array},
        "lyric2vocal": {**short, "adapter": "voice"},
        "text2samples": {**short, "adapter": "voice"},
        "rap": {**short, "adapter": "voice"},
        "stemgen": {**quick, "track": SOURCE, "instrument": "bass"},
        "stem-set": {**quick, "track": SOURCE, "instruments": ["bass"]},
        "singing2accompaniment": {**quick, **WORDS, "vocal": SOURCE},
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in shipped().glob("*.yaml")))
def test_every_shipped_graph_runs(session: Session, result: Result, name: str) -> None:
    inputs = shipped_inputs(result)[name]
    declared = session.read(name).graph.inputs
    inputs = {name: value for name, value in inputs.items() if name in declared and value is not None}
    given = session.run(name, **inputs)
    assert given.graph == name
    assert set(given.outputs) & {"audio", "latents"}


def test_options_have_no_names_of_inputs_of_shipped_graphs(session: Session) -> None:
    names = {name for graph in session.graphs for name in session.read(graph).graph.inputs}
    assert not names & {"inputs", "progress", "cache", "deadline"}


def test_a_graph_is_a_name_a_file_text_a_map_or_read_before(session: Session, result: Result, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(DECODE)
    content = session.read(DECODE).graph.content
    for graph in (file, str(file), DECODE, json.dumps(content), content, session.read(file)):
        given = session.run(graph, latents=result.latents)
        assert (given.graph, given.audio) == ("my-decode", result.audio)
    with Session(session.weights, session.placement, graph_folders=[tmp_path]) as other:
        assert "mine" in other.graphs
        assert "latents  latents" in other.describe("mine")


def test_a_changed_graph_file_is_read_again(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    for summary in ("one", "two"):
        file.write_text(DECODE + f"summary: {summary}\n")
        assert session.read(file).graph.summary == summary


def test_audio_and_text_come_from_files(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write.audio("a.wav", SOURCE, subtype="float32")
    Path("words.txt").write_text("[verse]\nhello\n", encoding="utf-8")
    options = {"steps": 2, "seed": 1, "retake_seed": 2, "span": (0.2, 0.6), "cache": "off"}
    for source in ("a.wav", Path("a.wav")):
        named = session.run("repaint", source=source, tags="pop", lyrics=Path("words.txt"), **options)
        assert list(named.recipe.files.values()) == ["a.wav"]
        assert named.inputs["lyrics"] == "[verse]\nhello"
    same = session.run("repaint", source=read.audio("a.wav"), tags="pop", lyrics="[verse]\nhello", **options)
    assert same.audio == named.audio


def test_inputs_with_names_of_options_go_in_a_map(session: Session) -> None:
    given = session.run(CLASHING, inputs={"cache": "cold", "progress": True}, source=SOURCE, cache="off")
    assert given.outputs["cache"] == "cold"
    assert given.inputs["progress"] is True


# Loops, threads, and weights that stay.


def test_it_works_inside_a_running_event_loop(session: Session, result: Result) -> None:
    async def cell() -> Result:
        return session.run("text2music", **SONG)  # as a notebook's cell does

    assert asyncio.run(cell()).audio == result.audio


def test_async_runs_leave_the_callers_loop_free(session: Session) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    async def main() -> list[Result]:
        ticking = asyncio.ensure_future(tick())
        songs = [session.run_async("text2music", **{**SONG, "seed": seed}, cache="off") for seed in (1, 2)]
        results = await asyncio.gather(*songs)
        ticking.cancel()
        return results

    first, second = asyncio.run(main())
    assert first.audio != second.audio
    assert ticks > 3


def test_a_cancelled_task_stops_its_run(session: Session) -> None:
    events: list[Event] = []

    async def main() -> None:
        task = asyncio.ensure_future(session.run_async("text2music", **LONG, cache="off", progress=hear))
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(task.cancel))
        await task

    stop: list[Callable[[], object]] = []

    def cancel() -> None:
        stop[0]()

    act = when_sampling(cancel)

    def hear(event: Event) -> None:
        events.append(event)
        act(event)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert (events[-1].node, events[-1].type) == ("", "cancelled")
    assert session._running == set()


def test_threads_are_served_side_by_side(session: Session) -> None:
    with ThreadPoolExecutor(4) as pool:
        seeds = [1, 2, 1, 2]
        results = list(pool.map(lambda seed: session.run("text2music", **{**SONG, "seed": seed + 100}), seeds))
    assert results[0].audio == results[2].audio != results[1].audio == results[3].audio


def test_weights_are_loaded_once(session: Session, result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    runner: Any = session.scheduler.runner
    loaded = dict(runner._loaded)
    session.run("text2music", **{**SONG, "seed": 11})
    assert runner._loaded.items() >= loaded.items()
    assert all(runner._loaded[stage] is instance for stage, instance in loaded.items())


# Progress, stopping, deadlines, the cache.


def test_progress_is_shown_or_handed_over(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Event] = []
    session.run("text2music", **SONG, cache="off", progress=events.append)
    assert [event.step for event in events if event.type == "progress" and event.node == "take"][-2:] == [1, 2]
    assert (events[0].type, events[-1].type) == ("started", "finished")
    assert capsys.readouterr().err == ""
    session.run("text2music", **SONG, progress=True)
    assert "[6/6] song (vocode): " in capsys.readouterr().err


def test_a_callback_that_fails_stops_the_run(session: Session) -> None:
    def fail() -> None:
        raise ZeroDivisionError("in the callback")

    with pytest.raises(ZeroDivisionError, match="in the callback"):
        session.run("text2music", **LONG, cache="off", progress=when_sampling(fail))

    def leave() -> None:
        raise SystemExit

    with pytest.raises(Cancelled, match="the progress callback raised SystemExit"):
        session.run("text2music", **LONG, cache="off", progress=when_sampling(leave))
    assert session.run("text2music", **SONG).audio.seconds > 0


def test_a_callback_cannot_wait_for_its_own_session(session: Session) -> None:
    with pytest.raises(InputError, match="a progress callback cannot wait for its own session"):
        session.run("text2music", **LONG, progress=when_sampling(lambda: session.run("text2music", **SONG)))


def test_a_run_is_cancelled_midway_and_the_session_goes_on(session: Session) -> None:
    sampling = threading.Event()
    run = session.start("text2music", **LONG, progress=when_sampling(sampling.set))
    assert isinstance(run, RunHandle)
    assert sampling.wait(60)
    assert not run.done
    with pytest.raises(TimeoutError):
        run.result(timeout=0.001)
    run.cancel()
    run.cancel()
    with pytest.raises(Cancelled, match="the run was cancelled"):
        run.result()
    assert run.done
    assert repr(run) == "<RunHandle of text2music: done>"
    store = session.scheduler.cache.store
    assert store is not None
    assert not [path for path in store.root.rglob("*") if path.suffix in (".part", ".claim")]
    before = session.plan("text2music", **LONG)
    assert {node.id: node.fate for node in before.nodes} == {
        **dict.fromkeys(("prompt", "words", "noise"), "cached"),
        **dict.fromkeys(("take", "mel", "song"), "computed"),
    }
    assert session.run("text2music", **SONG).audio.seconds > 0


def test_cancelling_before_the_run_begins_and_after_it_ended(session: Session, result: Result) -> None:
    run = session.start("text2music", **LONG, cache="off")
    run.cancel()
    with pytest.raises(Cancelled):
        run.result()
    done = session.start("text2music", **SONG)
    assert done.result().audio == result.audio
    done.cancel()
    assert done.result().audio == result.audio


def test_a_deadline_stops_a_run(session: Session, small_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DeadlineExceeded, match="0.2 s, its deadline"):
        session.run("text2music", **LONG, cache="off", deadline=0.2)
    with (
        Session(small_root, cache_folder=tmp_path, deadline=0.01) as hurried,
        pytest.raises(DeadlineExceeded, match=r"0.01 s"),
    ):
        hurried.run("text2music", **LONG)


def test_cache_modes(session: Session, result: Result, small_root: Path, tmp_path: Path) -> None:
    def sources(result: Result) -> set[str]:
        return {node.source for node in result.recipe.nodes}

    assert sources(session.run("text2music", **SONG)) == {"memory"}
    assert sources(session.run("text2music", **SONG, cache="refresh")) == {"computed"}
    assert sources(session.run("text2music", **SONG, cache="off")) == {"computed"}
    store = session.scheduler.cache.store
    assert store is not None
    with Session(small_root, cache_folder=store.root) as later:
        assert "disk" in sources(later.run("text2music", **SONG))
    with Session(small_root, cache_folder=tmp_path, cache="off") as apart:
        assert sources(apart.run("text2music", **SONG)) == sources(apart.run("text2music", **SONG)) == {"computed"}
        assert not list(tmp_path.rglob("*.safetensors"))
        assert sources(apart.run("text2music", **SONG, cache="use")) == {"computed"}
        assert sources(apart.run("text2music", **SONG, cache="use")) == {"memory"}


def test_a_plan_says_what_a_run_would_do(session: Session, result: Result) -> None:
    known, fresh = session.plan("text2music", **SONG), session.plan("text2music", **{**SONG, "seed": 4321})
    assert {node.fate for node in known.nodes} == {"cached"}
    assert {node.id for node in fresh.nodes if node.fate == "computed"} == {"noise", "take", "mel", "song"}
    assert fresh.complete
    assert fresh.seconds > 0
    assert {node.fate for node in session.plan("text2music", **SONG, cache="off").nodes} == {"computed"}


# The life of a session.


def test_a_closed_session_says_so_and_has_no_threads(small_root: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    sampling = threading.Event()
    with Session(small_root, cache_folder=tmp_path) as session:
        session.run("text2music", **SONG)
        run = session.start("text2music", **LONG, progress=when_sampling(sampling.set))
        assert sampling.wait(60)
    with pytest.raises(Cancelled):
        run.result()
    left = {thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("lane")}
    assert left == set()  # lanes belong to the process
    session.close()
    assert repr(session).endswith(", closed>")
    for use in (session.run, session.start, session.plan):
        with pytest.raises(InputError, match=r"session: closed \(allowed: an open session: make a new one\)"):
            use("text2music", **SONG)
    with pytest.raises(InputError, match="session: closed"):
        asyncio.run(session.run_async("text2music", **SONG))


SCRIPT = """
from acestep_flows import Session

with Session(ROOT, cache="off") as session:
    result = session.run("text2music", tags="pop", duration=1, steps=2, seed=7)
    print(result.save("songs"))
"""

INTERRUPTED = """
import sys
from acestep_flows import Session

session = Session(ROOT)
try:
    hear = lambda event: print(event.type, flush=True)
    session.run("text2music", tags="pop", duration=60, steps=200, progress=hear).save("songs")
except KeyboardInterrupt:
    again = session.run("text2music", tags="pop", duration=1, steps=1)
    print("interrupted", len(session._running), again.audio.channels)
"""


def script(text: str, small_root: Path, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "ACESTEP_FLOWS_CACHE": str(folder / "cache")}
    code = text.replace("ROOT", repr(str(small_root)))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment, text=True, **pipes)


def test_five_lines_make_a_song(small_root: Path, tmp_path: Path) -> None:
    assert len([line for line in SCRIPT.splitlines() if line]) <= 5
    with script(SCRIPT, small_root, tmp_path) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.count("songs/text2music-") == 3
    assert sorted(path.suffix for path in (tmp_path / "songs").iterdir()) == [".json", ".png", ".wav"]


def test_ctrl_c_stops_at_a_step_and_leaves_nothing_behind(small_root: Path, tmp_path: Path) -> None:
    with script(INTERRUPTED, small_root, tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line == "progress\n":
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-2:] == ["cancelled", "interrupted 0 2"]
    assert not (tmp_path / "songs").exists()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".part", ".claim")]


def test_a_notebook_plays_a_song(small_root: Path, tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = SCRIPT.replace("ROOT", repr(str(small_root))).strip() + "\nresult"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cells)])
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert any("<audio" in output.get("data", {}).get("text/html", "") for output in notebook.cells[0].outputs)


# Bad input: one clear line each.


@pytest.mark.parametrize(
    ("graph", "inputs", "kind", "message"),
    [
        ("text2musik", SONG, NotFound, "no graph 'text2musik', nearest 'text2music'; allowed: "),
        ("nowhere.yaml", {}, NotFound, "no graph file 'nowhere.yaml'"),
        (Path("text2music"), {}, NotFound, "no graph file 'text2music'"),
        (7, {}, InputError, "graph: int 7 .*the name of a graph, the path of a graph file"),
        ({"graph": object()}, {}, InputError, "graph: not JSON"),
        ({"graph": "x"}, {}, GraphError, "version"),
        ("graph: x\nversion: 1\nnodes: {a: {stage: vocod}}\noutputs: {a: $a.b}\n", {}, GraphError, "no stage 'vocod'"),
        ("text2music", {**SONG, "tagz": "x"}, InputError, "no input 'tagz', nearest 'tags'; allowed: tags, lyrics"),
        ("text2music", {}, InputError, "tags: missing"),
        ("text2music", {**SONG, "tags": 3}, InputError, r"tags: int 3 \(allowed: text\)"),
        ("text2music", {**SONG, "steps": 2.5}, InputError, "steps: float 2.5 .*a whole number"),
        ("text2music", {**SONG, "steps": 0}, InputError, "steps: 0 .*1 to 200"),
        ("text2music", {**SONG, "seed": -1}, InputError, "seed: int -1"),
        ("text2music", {**SONG, "duration": np.float64("nan")}, InputError, "duration: "),
        ("text2music", {**SONG, "lyrics": Path("nowhere.txt")}, InputError, "lyrics: cannot read nowhere.txt"),
        ("text2music", {**SONG, "cache": "on"}, InputError, "cache: text 'on' .*use, refresh, off"),
        ("text2music", {**SONG, "deadline": 0}, InputError, "deadline: int 0 .*more than 0 seconds"),
        ("text2music", {**SONG, "deadline": "soon"}, InputError, "deadline: text 'soon'"),
        ("text2music", {"inputs": {"tags": "a"}, "tags": "b"}, InputError, "tags: given twice"),
        ("text2music", {"inputs": ["a"]}, InputError, "inputs: a list of 1 .*a map of inputs by name"),
        ("decode", {"latents": 3}, InputError, "latents: int 3 .*Latents, or the path of a file with it"),
        ("decode", {"latents": SOURCE}, InputError, "latents: a value of type audio .*Latents"),
        ("decode", {"latents": np.zeros((2, 3))}, InputError, "latents.array: shape .2, 3. .*8 x 16 x any"),
        ("decode", {"latents": "nowhere.safetensors"}, InputError, "cannot read nowhere.safetensors"),
        (
            "repaint",
            {"source": "nowhere.wav", "tags": "a", "span": (0, 1)},
            InputError,
            "nowhere.wav: cannot be opened",
        ),
        (
            "repaint",
            {"source": np.zeros((2, 9)), "tags": "a"},
            InputError,
            r"source: a bare array .*Audio\(samples, sam",
        ),
        ("repaint", {"source": SOURCE, "tags": "a", "span": (1, 0)}, InputError, "span: 1 to 0 s"),
        (
            CLASHING,
            {"source": SOURCE, "cache": "use"},
            InputError,
            r"progress: an option of the run and an input .*inputs={",
        ),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    session: Session, graph: Any, inputs: dict[str, Any], kind: type[FlowsError], message: str
) -> None:
    events: list[Event] = []
    with pytest.raises(kind, match=message) as error:
        session.start(graph, **inputs, progress=events.append)
    assert len(str(error.value).splitlines()) == 1 or kind is GraphError
    assert events == []


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"weights": "nowhere"}, CheckpointError, "^weights: no folder .*nowhere .*'embedded'"),
        ({"weights": ""}, InputError, "^weights: empty"),
        ({"weights": 3}, InputError, "^weights: int 3"),
        ({"weights": "embedded", "lyric_vocab": "x"}, InputError, "^lyric_vocab: the embedded model .*weights=DIR"),
        ({"weights": "embedded", "device": "tpu"}, InputError, "^device: no device 'tpu' .*auto, cpu"),
        (
            {"weights": "embedded", "dtype": "float16"},
            InputError,
            "^dtype: no dtype 'float16'.*auto, float32",
        ),
        ({"weights": "embedded", "cache": "no"}, InputError, "^cache: text 'no' .*use, refresh, off"),
        ({"weights": "embedded", "deadline": -1}, InputError, "^deadline: int -1"),
        ({"weights": "embedded", "graph_folders": ["nowhere"]}, NotFound, "nowhere is no folder to look for graphs in"),
    ],
)
def test_bad_options_of_a_session_are_one_line(options: dict[str, Any], kind: type[FlowsError], message: str) -> None:
    with pytest.raises(kind, match=message) as error:
        Session(**options)
    assert len(str(error.value).splitlines()) == 1
