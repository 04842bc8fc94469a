"""The server as one process with its stages in it: load, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from acestep_flows.api.server import server
from acestep_flows.api.server.options import ServerOptions
from acestep_flows.api.server.server import serve_forever
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.serving.pool import shipped
from acestep_flows.settings import read_settings
from tests.api.door import SHORT, sound
from tests.api.http.test_metrics import numbers_of
from tests.api.server_process import Here, no_ray

SONG = {"graph": "text2music", "inputs": dict(SHORT) | {"duration": 10, "steps": 200}}
CROWD, THREADS = 1000, 100
CUT = """
graph: cut
version: 1
summary: One stage that computes next to nothing, so that a thousand runs are no matter of minutes.
inputs: {source: {type: audio}, span: {type: span}}
nodes: {cut: {stage: trim, with: {audio: $source, span: $span}}}
outputs: {audio: $cut.audio}
"""
ROOT = Path(__file__).parents[2]


def leave(url: str) -> list[str]:
    """Stop the server while a client follows a run. Returns the types of the events that came."""
    with httpx2.Client(base_url=url, timeout=120) as client:
        run = client.post("/v1/runs", json=SONG).json()["links"]
        while client.get(run["self"]).json()["progress"] == 0:
            time.sleep(0.02)
        with client.stream("GET", run["events"]) as response:
            os.kill(os.getpid(), signal.SIGTERM)
            while (ready := client.get("/readyz")).status_code == 200:
                time.sleep(0.01)
            assert ready.json()["reason"] == "the server is ending"
            refused = client.post("/v1/runs", json=SONG)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
            assert client.get(run["self"]).json()["state"] == "running"
            return [line.removeprefix("event: ") for line in response.iter_lines() if line.startswith("event: ")]


def test_runs_end_within_the_drain_and_clients_hear_of_it(
    strict: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "local_ray", no_ray)
    monkeypatch.setattr(server, "deploy", lambda args: Here(strict, workers=2))
    options = ServerOptions(host="127.0.0.1", port=0, home=tmp_path, pool="local", drain=120)
    leaving: list[Future[list[str]]] = []
    with ThreadPoolExecutor(1) as pool:
        serve_forever(options, read_settings(), lambda line, url: leaving.append(pool.submit(leave, url)))
        begun = time.monotonic()
        types = leaving[0].result(1)
    assert types[-1] == "succeeded"
    assert time.monotonic() - begun < options.drain / 2, "it waits no longer than its runs take"


def waits_that_end(url: str) -> dict[str, list[str]]:
    """Stop the server at once while clients wait for a run in every way there is. Returns what each got at last."""
    with httpx2.Client(base_url=url, timeout=120) as client, ThreadPoolExecutor(5) as threads:
        run = client.post("/v1/runs", json=SONG).json()["links"]

        def stream(path: str) -> list[str]:
            with client.stream("GET", path) as response:
                return [line.removeprefix("event: ") for line in response.iter_lines() if line.startswith("event: ")]

        waiting = {
            "events": threads.submit(stream, run["events"]),
            "all": threads.submit(stream, "/v1/events"),
            "wait": threads.submit(lambda: [client.get(run["self"], params={"wait": 60}).json()["state"]]),
            "render": threads.submit(lambda: render(client)),
        }
        while (stats := client.get("/v1/stats").json())["streams"] < len(waiting) or sum(stats["runs"].values()) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)
        return {name: answer.result(60) for name, answer in waiting.items()}


def render(client: httpx2.Client) -> list[str]:
    response = client.post("/v1/graphs/text2music:render", json={"inputs": SONG["inputs"]})
    body = response.json()
    assert int(response.headers["retry-after"]) >= 15
    return [str(response.status_code), body["error"]["code"], body["run"]["id"][:4]]


def test_whoever_waits_hears_that_the_server_stops(
    strict: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "local_ray", no_ray)
    monkeypatch.setattr(server, "deploy", lambda args: Here(strict, workers=2))
    options = ServerOptions(host="127.0.0.1", port=0, home=tmp_path, pool="local", drain=0)
    ends: list[Future[dict[str, list[str]]]] = []
    with ThreadPoolExecutor(1) as pool:
        serve_forever(options, read_settings(), lambda line, url: ends.append(pool.submit(waits_that_end, url)))
        ended = ends[0].result(60)
    assert (ended["events"][-1], ended["all"][-1]) == ("closing", "closing")
    assert ended["wait"][0] in ("queued", "running")
    assert ended["render"] == ["503", "overloaded", "run-"]


@pytest.fixture
def crowded(small_root: Path, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client of a server in a process of its own, with a queue of a thousand runs."""
    pool = yaml.safe_load((shipped() / "local.yaml").read_text())
    pool["limits"] |= {"queued": CROWD, "running": 16}
    (tmp_path / "pool.yaml").write_text(yaml.safe_dump(pool))
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "cut.yaml").write_text(CUT)
    places = [str(place) for place in (tmp_path / "home", small_root, tmp_path / "pool.yaml", tmp_path / "graphs")]
    command = [sys.executable, "-m", "tests.api.server_process", *places]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[2].rstrip(";")
        limits = httpx2.Limits(max_connections=THREADS, max_keepalive_connections=THREADS)
        with httpx2.Client(base_url=url, timeout=300, limits=limits) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def every_run(client: httpx2.Client) -> Iterator[dict[str, Any]]:
    """All runs of the table, page by page."""
    query: dict[str, Any] | None = {"limit": 200}
    while query is not None:
        page = client.get("/v1/runs", params=query).json()
        yield from page["runs"]
        query = None if page["next"] is None else {"limit": 200, "after": page["next"]}


def test_a_thousand_runs_at_once_are_accepted_and_end_once_each(crowded: httpx2.Client) -> None:
    numbers_of(crowded)  # the counters start at the first request
    source = crowded.post("/v1/assets", content=sound(0.2)).json()["id"]

    def submit(number: int) -> tuple[int, str]:
        inputs = {"source": source, "span": [0, 0.1 + 0.01 * (number % 8)]}
        response = crowded.post("/v1/runs", json={"graph": "cut", "inputs": inputs, "format": "wav"})
        return response.status_code, response.json().get("id", response.text)

    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(submit, range(CROWD)))
    assert Counter(status for status, _ in answers) == {202: CROWD}
    accepted = {id for _, id in answers}
    assert len(accepted) == CROWD
    while (runs := crowded.get("/v1/stats").json()["runs"])["queued"] or runs["running"]:
        time.sleep(0.2)
    assert runs == {"queued": 0, "running": 0, "succeeded": CROWD, "failed": 0, "cancelled": 0}
    listed = list(every_run(crowded))
    assert Counter(run["id"] for run in listed) == Counter(accepted)
    assert {(run["state"], run["attempt"], *run["outputs"]) for run in listed} == {("succeeded", 1, "audio", "recipe")}
    metrics = numbers_of(crowded)
    assert metrics["acestep_flows_runs_ended_total", "cut", "succeeded"] == CROWD
    assert metrics["acestep_flows_runs", "succeeded"] == CROWD
    assert metrics["acestep_flows_http_requests_total", "POST", "/v1/runs", "202"] == CROWD
    assert (
        metrics["acestep_flows_run_queue_seconds_count",] == metrics["acestep_flows_run_seconds_count", "cut"] == CROWD
    )
    nodes = {state: metrics["acestep_flows_nodes_total", "trim", state] for state in ("finished", "cached")}
    assert nodes == {"finished": 8, "cached": CROWD - 8}


@pytest.mark.parametrize(("mode", "warnings"), [(0o770, 0), (0o777, 1)])
def test_a_home_where_everybody_may_write_is_warned_of(
    mode: int, warnings: int, strict: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "local_ray", no_ray)
    monkeypatch.setattr(server, "deploy", lambda args: Here(strict, workers=1))
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    said: list[str] = []
    options = ServerOptions(host="127.0.0.1", port=0, home=home, pool="local")
    serve_forever(options, read_settings(), lambda line, url: os.kill(os.getpid(), signal.SIGTERM), tell=said.append)
    assert len([line for line in said if line.startswith("warning: every user of this machine may write")]) == warnings
