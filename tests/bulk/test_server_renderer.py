"""A job's songs from a server that runs already."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from acestep_flows.audio import read
from acestep_flows.bulk.driver import run_job
from acestep_flows.bulk.ledger import ATTEMPTS, DEAD, Ledger
from acestep_flows.bulk.server_renderer import SERVER, ServerRenderer, meet_server
from acestep_flows.client import Client
from acestep_flows.errors import Conflict, LostProcess, NotFound, StageError, Unreachable
from acestep_flows.graph.execution.run import run_plan
from acestep_flows.graph.execution.scheduler import Scheduler
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.stages.registry import stages
from tests.api.door import Door, opened, sound
from tests.bulk.jobs import rows_in

SONGS = [{"id": f"r{number}", "tags": "piano", "duration": 1, "steps": 2, "seed": number} for number in range(3)]
OTHER = """
graph: text2music
version: 1
inputs: {tags: {type: text}, duration: {type: float}, steps: {type: int}, seed: {type: seed}}
nodes:
  prompt: {stage: encode_prompt, with: {tags: $tags}}
  words: {stage: encode_lyrics, with: {lyrics: ""}}
  noise: {stage: init_noise, with: {duration: $duration, seed: $seed}}
  take: {stage: sample, with: {prompt: $prompt, lyrics: $words, noise: $noise, steps: $steps}}
  mel: {stage: decode_latents, with: {latents: $take.latents}}
  song: {stage: vocode, with: {mel: $mel}}
outputs: {audio: $song.audio}
"""


@pytest.fixture(scope="module")
def door(small: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with opened(tmp_path_factory.mktemp("home"), small) as door:
        yield door


def test_a_server_renders_what_run_does(door: Door, small: Checkpoint, tmp_path: Path) -> None:
    work, rows = rows_in(tmp_path, SONGS)
    outcome = run_job(work, rows, ServerRenderer(work, Client(door.url), concurrency=2))
    assert (outcome.progress.done, outcome.progress.failed) == (3, 0)
    assert SERVER in outcome.progress.busy
    found = sorted(Ledger(work.job_folder).rows(), key=lambda row: row.index)
    assert [row.id for row in found] == ["r0", "r1", "r2"]

    async def alone() -> str:
        with LocalRunner(small) as runner:
            result = await run_plan(Scheduler(stages(), runner), work.plan(work.plan_attempt(next(iter(rows)))[0]))
            return str(getattr(result.outputs["audio"], "digest", ""))

    assert found[0].audio_digest == asyncio.run(alone())
    assert found[0].weights_digest
    assert {"sample", "vocode"} <= found[0].stage_seconds.keys()
    assert found[0].measurements is not None
    assert found[0].audio_path is not None
    content = work.job_folder.read(found[0].audio_path)
    assert content is not None
    assert read.audio(content).seconds == found[0].duration


def test_files_are_uploaded(door: Door, tmp_path: Path) -> None:
    (tmp_path / "song.wav").write_bytes(sound(2.0))
    rows = [
        {"id": "a", "reference": str(tmp_path / "song.wav"), "strength": 0.5, "tags": "piano", "steps": 4, "seed": 1}
    ]
    work, found = rows_in(tmp_path, rows, graph="audio2audio")
    outcome = run_job(work, found, ServerRenderer(work, Client(door.url)))
    assert outcome.progress.done == 1, [row.error for row in Ledger(work.job_folder).rows(DEAD)]


def test_another_graph_of_the_name_is_refused(door: Door, tmp_path: Path) -> None:
    (tmp_path / "text2music.yaml").write_text(OTHER)
    work, rows = rows_in(tmp_path, SONGS[:1], graph=tmp_path / "text2music.yaml")
    run_job(work, rows, ServerRenderer(work, Client(door.url)))
    (dead,) = Ledger(work.job_folder).rows(DEAD)
    assert "another one" in str(dead.error)
    assert dead.attempt == 1


def test_a_server_that_is_not_there_fails_rows_not_the_job(tmp_path: Path) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    work, rows = rows_in(tmp_path, SONGS[:1])
    client = Client("http://127.0.0.1:9", patience=0.05, transport=httpx2.MockTransport(refuse))
    run_job(work, rows, ServerRenderer(work, client), retries=1)
    (dead,) = Ledger(work.job_folder).rows(DEAD)
    assert (dead.code, dead.attempt) == (Unreachable.code, 2)
    assert dead.code not in (StageError.code, LostProcess.code)


def test_a_server_that_must_answer_ends_the_job_and_gives_up_no_row(tmp_path: Path) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    work, rows = rows_in(tmp_path, SONGS)
    client = Client("http://127.0.0.1:9", patience=0.05, transport=httpx2.MockTransport(refuse))
    with pytest.raises(Unreachable):
        run_job(work, rows, ServerRenderer(work, client, must_answer=True))
    assert not list(Ledger(work.job_folder).rows(DEAD))
    assert not list(Ledger(work.job_folder).rows(ATTEMPTS))


def test_a_server_that_dies_during_the_job_ends_it_and_the_next_call_goes_on(door: Door, tmp_path: Path) -> None:
    alive = True

    def forward(request: httpx2.Request) -> httpx2.Response:
        if not alive:
            raise httpx2.ConnectError("refused")
        if request.url.path.endswith("/runs") and request.method == "POST":
            die()
        with httpx2.Client() as plain:
            headers = {name: text for name, text in request.headers.items() if name != "host"}
            return plain.request(request.method, request.url, content=request.read(), headers=headers)

    def die() -> None:
        nonlocal alive
        alive = False

    work, rows = rows_in(tmp_path, SONGS)
    client = Client(door.url, patience=0.05, transport=httpx2.MockTransport(forward))
    with pytest.raises(Unreachable):
        run_job(work, rows, ServerRenderer(work, client, must_answer=True))
    assert not list(Ledger(work.job_folder).rows(DEAD))
    outcome = run_job(work, rows, ServerRenderer(work, Client(door.url), must_answer=True))
    assert (outcome.progress.done, outcome.progress.failed) == (3, 0)


def test_a_server_without_the_graph_ends_the_job(door: Door, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OTHER.replace("graph: text2music", "graph: mine"))
    work, rows = rows_in(tmp_path, SONGS[:1], graph=tmp_path / "mine.yaml")
    with pytest.raises(NotFound, match="mine"):
        run_job(work, rows, ServerRenderer(work, Client(door.url), must_answer=True))
    assert not list(Ledger(work.job_folder).rows(DEAD))


def test_a_server_that_was_never_there_is_told_within_seconds(tmp_path: Path) -> None:
    work, _ = rows_in(tmp_path, SONGS)
    begun = time.monotonic()
    with Client("http://127.0.0.1:9") as client, pytest.raises(Unreachable) as refused:
        meet_server(client, work.job)
    assert time.monotonic() - begun < 10
    assert "ACESTEP_FLOWS_SERVER" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_another_graph_of_the_name_is_told_once_before_any_row(door: Door, tmp_path: Path) -> None:
    (tmp_path / "text2music.yaml").write_text(OTHER)
    work, rows = rows_in(tmp_path, SONGS, graph=tmp_path / "text2music.yaml")
    with pytest.raises(Conflict, match="graph text2music is another one than here .*serve --graphs FOLDER"):
        run_job(work, rows, ServerRenderer(work, Client(door.url), must_answer=True))
    assert not list(Ledger(work.job_folder).rows(DEAD))
    assert not list(Ledger(work.job_folder).rows(ATTEMPTS))
