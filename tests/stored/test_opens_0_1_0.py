"""What version 0.1.0 stored opens as before: a cache, recipes, a server's home, a bulk folder; and its import paths.

The folders in `v0.1.0` were written by 0.1.0 over the random checkpoint that `weights` makes again. The home and the
bulk folder are of processes that were killed: see `runs.txt` for the runs of the home, `rows.jsonl` for the manifest.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import os
import tarfile
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner, Result
from threadpoolctl import threadpool_limits

from acestep_flows.audio import read, tags
from acestep_flows.bulk.check import check
from acestep_flows.bulk.driver import AttemptEnd, Route, run_job
from acestep_flows.bulk.finish import finish
from acestep_flows.bulk.job_folder import JobFolder
from acestep_flows.bulk.ledger import Ledger
from acestep_flows.bulk.manifest import open_manifest
from acestep_flows.bulk.prepare import job_of
from acestep_flows.bulk.progress_meter import Meter
from acestep_flows.bulk.resume import begin
from acestep_flows.bulk.row_work import Attempt, JobWork
from acestep_flows.bulk.rows import JobRows
from acestep_flows.cli.main import cli
from acestep_flows.errors import Conflict
from acestep_flows.graph.checking.check import checked
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.runner import CallProgress, Reply
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.graph.library import Library
from acestep_flows.graph.planning.call import StageCall
from acestep_flows.graph.planning.plan import Plan
from acestep_flows.graph.records.recipe import read_recipe
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.bulk.segment_actor import PlanOutcome
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.runtime.serving.diffusion_calls import DiffusionCalls
from acestep_flows.runtime.serving.pool import EngineSection
from acestep_flows.runtime.serving.saved_states import SavedStates
from acestep_flows.stages.diffusion import DiffusionStage
from acestep_flows.stages.registry import stages
from acestep_flows.testing.random_checkpoint import SMALL, write_random_checkpoint
from acestep_flows.value_file import read_value
from acestep_flows.values import Latents
from acestep_flows.weights.choose import Weights
from tests.api.door import Door, opened

STORED = Path(__file__).parent / "v0.1.0"
FINISHED, HALF_WAY, BEGUN = (STORED / "runs.txt").read_text().split()
HALF_WAY_KEY = "6bcbc2363fa87b0928b00abb86603788993b659b9417026d8783c81075127e4c"
SONG = ["tags=lo-fi, piano", "lyrics=[verse]\nnight bus home", "duration=1", "seed=7", "steps=4"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint that all was made with."""
    root = tmp_path_factory.mktemp("weights")
    write_random_checkpoint(root, SMALL, seed=1)
    return root


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As 0.1.0 computed it: more threads sum in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


def unpack(name: str, folder: Path) -> Path:
    """A stored folder, as if written just now: what is old may be cleared away."""
    with tarfile.open(STORED / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    for path in (folder / name).rglob("*"):
        os.utime(path)
    return folder / name


def invoke(cache: Path, *args: object) -> Result:
    return CliRunner(env={"ACESTEP_FLOWS_CACHE": str(cache)}).invoke(cli, [str(arg) for arg in args])


def test_the_checkpoint_is_the_one_it_was(weights: Path, tmp_path: Path) -> None:
    """All else here depends on it."""
    entries = [json.loads(path.read_text()) for path in (unpack("cache", tmp_path) / "digests").iterdir()]
    digests = {Path(entry["file"]).relative_to("/tmp/kept/weights"): entry["sha256"] for entry in entries}
    assert len(digests) == 10
    assert {path: hashlib.sha256((weights / path).read_bytes()).hexdigest() for path in digests} == digests


def test_a_cache_answers(weights: Path, tmp_path: Path) -> None:
    options = [part for assignment in SONG for part in ("--set", assignment)]
    cache = unpack("cache", tmp_path)
    result = invoke(cache, "run", "text2music", *options, "--checkpoint", weights, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    nodes = [line for line in result.stderr.splitlines() if line.startswith("[")]
    assert len(nodes) == 6
    # Lyrics are read by newer rules and so encoded anew, to the same tokens: what follows is found in the cache, save
    # the song, because `vocode` leaves no images any more.
    computed = [line for line in nodes if not line.endswith(": cached")]
    assert len(computed) == 2, nodes
    assert "encoding the lyrics" in computed[0], nodes
    assert "making the waveform" in computed[1], nodes


@pytest.mark.parametrize("name", ["song.flac", "song.json"])
def test_a_recipe_replays(weights: Path, tmp_path: Path, name: str) -> None:
    song = unpack("run", tmp_path)
    result = invoke(tmp_path / "cache", "replay", song / name, "--checkpoint", weights)
    report = result.stdout.splitlines()[-1]
    # Another processor or another torch rounds otherwise, and a replay says so; then no node before the model differs.
    assert report == "every node gave the same" or report.startswith("first difference: node"), result.output
    assert "node noise" not in report


def test_a_recipe_reads_the_same_from_both_files(tmp_path: Path) -> None:
    song = unpack("run", tmp_path)
    written = json.loads((song / "song.json").read_text())
    for content in (written, tags.read(song / "song.flac").recipe):
        recipe = read_recipe(content, "song")
        assert recipe.graph.name == "text2music"
        assert recipe.inputs["lyrics"] == "[verse]\nnight bus home"
        assert [node.id for node in recipe.nodes] == [node["id"] for node in written["nodes"]]


def test_latents_read(tmp_path: Path) -> None:
    latents = read_value(unpack("run", tmp_path) / "song-latents.safetensors", "latents", "latents")
    assert isinstance(latents, Latents)
    assert latents.array.shape == (8, 16, 10)


class Pooled(LocalRunner):
    """Runs stages here, songs as a process of a pool does: from the states that a home keeps."""

    states: ClassVar[SavedStates]

    @cached_property
    def songs(self) -> DiffusionCalls:
        return DiffusionCalls(self, EngineSection(), self.states)

    async def call(self, call: StageCall, progress: CallProgress) -> Reply:
        if not issubclass(call.stage, DiffusionStage):
            return await super().call(call, progress)
        reply, _ = await self.songs.call(call, progress)
        assert reply is not None
        return reply


def test_a_home_goes_on(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was finished is there, what was begun is made, and a song half sampled goes on from its state."""
    home = unpack("home", tmp_path)
    monkeypatch.setattr(Pooled, "states", SavedStates(home / "states"), raising=False)
    monkeypatch.setattr("tests.api.door.LocalRunner", Pooled)
    state = Pooled.states.read(HALF_WAY_KEY)
    assert state is not None
    assert state.step == 70
    with opened(home, Checkpoint.open(weights), workers=2) as door:
        run = door.until(FINISHED)
        assert run["state"] == "succeeded"
        assert {node["state"] for node in run["nodes"]} == {"finished"}
        outputs = {name: door.client.get(output["url"]) for name, output in run["outputs"].items()}
        assert {name: answer.status_code for name, answer in outputs.items()} == dict.fromkeys(
            ["audio", "latents", "report", "recipe"], 200
        )
        assert read.audio(outputs["audio"].content).samples.shape == (2, 44_583)
        assert read_recipe(outputs["recipe"].json(), FINISHED).inputs["seed"] == 7
        assert door.until(BEGUN)["state"] == "succeeded"

        while not (steps := steps_since_restart(door)):
            door.until(HALF_WAY, "queued", "running")
            time.sleep(0.05)
        assert min(steps) == 70
        assert door.client.delete(f"/v1/runs/{HALF_WAY}").status_code == 202
        assert door.until(HALF_WAY)["state"] == "cancelled"


def test_a_home_has_what_came_later(weights: Path, tmp_path: Path) -> None:
    """Usage of what was finished, labels to set, formats to fetch, and one stream of what happens from now on."""
    with opened(unpack("home", tmp_path), Checkpoint.open(weights), executing=False) as door:
        (used,) = door.client.get("/v1/usage").json()["usage"]
        assert (used["owner"], used["runs"]) == ("", 1)
        assert used["music_seconds"] == pytest.approx(44_583 / 48_000, abs=0.001)
        assert used["compute_seconds"] > 0
        (run,) = door.client.get("/v1/runs", params={"state": "succeeded"}).json()["runs"]
        assert (run["id"], run["labels"]) == (FINISHED, {})
        changed = door.client.patch(run["links"]["self"], json={"labels": {"title": "Night bus"}})
        assert changed.json()["labels"] == {"title": "Night bus"}
        kept, mp3 = (door.client.get(run["outputs"]["audio"]["url"], params=query) for query in ({}, {"format": "mp3"}))
        assert tags.read(mp3.content) == tags.read(kept.content)
        before = door.home.feed.head()
        assert door.client.delete(f"/v1/runs/{BEGUN}").status_code == 202
        events, _ = door.home.feed.read(None, before)
        assert [(event.run, event.event.type) for event in events] == [(BEGUN, "cancelled")]
        assert door.client.delete(run["links"]["self"], params={"forget": True}).status_code == 204


def steps_since_restart(door: Door) -> list[int]:
    """The steps at which the song half sampled was since another executor took it."""
    events = door.home.runs.events(HALF_WAY)
    taken = max((event.seq for event in events if event.type == "continued"), default=len(events))
    return [event.body["step"] for event in events if event.seq > taken and "step" in event.body]


class InThisProcess:
    """The `Renderer` of a bulk job without Ray."""

    def __init__(self, work: JobWork) -> None:
        self.work, self.rendered = work, list[str]()

    def route(self, plan: Plan) -> Route:
        return ("all",)

    def render(
        self, attempts: Sequence[Attempt], routes: Collection[Route], meter: Meter, *, alone: bool
    ) -> Generator[AttemptEnd, None, None]:
        with LocalRunner(self.work.checkpoint(), threads=1) as runner:
            for attempt in attempts:
                plan = self.work.plan(attempt)
                result = asyncio.run(run_plan(Scheduler(stages(), runner), plan))
                outputs = asyncio.run(runner.fetch(dict(result.outputs)))
                done = PlanOutcome(replace(plan, outputs=outputs), tuple(result.nodes.values()))
                self.rendered.append(attempt.row.id)
                yield attempt, self.work.finish(attempt, done)

    def close(self) -> None:
        pass


def test_a_bulk_folder_goes_on(weights: Path, tmp_path: Path) -> None:
    """Rows that were done stay as they are, the others are made, and a report is written."""
    folder = unpack("bulk", tmp_path)
    before = {row.id: row for row in Ledger(JobFolder(str(folder))).rows()}
    assert sorted(before) == ["a", "b", "c"]
    library = Library()
    scope = checked(library.load("text2music"), stages(), library.nested)
    rows = JobRows(open_manifest(str(STORED / "rows.jsonl")), scope)
    chosen = Weights("argument", weights, None, tmp_path / "cache")
    job, place = job_of(rows, check(rows), chosen.open()), JobFolder(str(folder))
    with pytest.raises(Conflict, match="--accept-upgrade"):
        begin(place, job, check(rows))
    assert begin(place, job, check(rows), upgrade=True) is True
    work = JobWork(job, place, chosen)
    outcome = run_job(work, rows, renderer := InThisProcess(work))
    assert renderer.rendered == ["d", "e", "f"]
    assert [row.error for row in Ledger(place).rows("dead-letters")] == []
    assert (outcome.progress.done, outcome.progress.resumed, outcome.progress.failed) == (6, 3, 0)
    after = {row.id: row for row in Ledger(place).rows()}
    assert {id: after[id] for id in before} == before
    finished = finish(place, job)
    assert (folder / finished.report).read_text().startswith("<!")
    for row in after.values():
        assert row.audio_path is not None
        assert read.audio(folder / row.audio_path).seconds == row.duration


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("acestep_flows", "Client AsyncClient __version__"),
        ("acestep_flows.errors", "FlowsError GraphError InputError NotFound StageError Overloaded DeadlineExceeded"),
        ("acestep_flows.values", "Audio Latents Mel Noise"),
        ("acestep_flows.api.ingress", "ingress"),
        ("acestep_flows.runtime.serving.build", "build_app"),
    ],
)
def test_import_paths_stand(path: str, names: str) -> None:
    module = importlib.import_module(path)
    assert [name for name in names.split() if not hasattr(module, name)] == []
