"""Killed processes and lost connections: every run ends exactly once."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from acestep_flows.client import Client, Run
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool import Pool
from tests.served.server import COMMAND, Server, environment
from tests.waiting import alive, eventually

LONG = {"seconds": 4, "steps": 50}
"""A song that takes a while."""
UNDER_WAY = Pool.read("local").limits.running


def family(server: Server) -> list[psutil.Process]:
    """All processes that the server has started."""
    assert server.process is not None
    started: list[psutil.Process] = psutil.Process(server.process.pid).children(recursive=True)
    return started


def raylet(server: Server) -> psutil.Process:
    """The server's raylet. Its workers have the same name for a moment, when they begin."""
    assert server.process is not None
    (found,) = (one for one in psutil.Process(server.process.pid).children() if one.name() == "raylet")
    assert isinstance(found, psutil.Process)
    return found


def everything(client: Client) -> Iterator[Run]:
    """Every run in the table."""
    listed, more = client.runs_page(limit=200)
    yield from listed
    while more is not None:
        listed, more = client.runs_page(limit=200, after=more)
        yield from listed


def sampling(client: Client, run: str) -> bool:
    """Whether the run is in the middle of its steps."""
    return any(node.id == "take" and (node.step or 0) > 12 for node in client.status(run).nodes)


def ended_once(client: Client, run: str) -> Run:
    """Wait for a run, which must have started once and ended once."""
    record = client.wait(run, timeout=120)
    types = [event.type for event in client.events(run) if not event.node]
    assert types[0] == "accepted"
    assert types.count("started") == 1
    assert [type for type in types if type in ("succeeded", "failed", "cancelled")] == [record.state] == types[-1:]
    return record


def test_a_killed_server_loses_nothing_and_does_nothing_twice(server: Server, client: Client) -> None:
    """20 runs, some of them running, while clients watch: the server is killed with SIGKILL and started again."""
    runs = [server.song(client, seed=100 + i, **(LONG if i < UNDER_WAY else {})).id for i in range(20)]
    env = environment(server.cache) | {"ACESTEP_FLOWS_SERVER": server.url}
    watching = subprocess.Popen([COMMAND, "watch", runs[0]], env=env, stderr=subprocess.PIPE, text=True)
    assert watching.stderr is not None
    assert watching.stderr.readline(), "it hears of the run before the server is killed"
    eventually(lambda: sampling(client, runs[0]))
    left = family(server)
    server.kill()
    server.start()
    eventually(lambda: not any(alive(process) for process in left))
    records = [ended_once(client, run) for run in runs]
    assert {run.state for run in records} == {"succeeded"}
    assert {run.content["attempt"] for run in records} == {1, 2}
    assert len({run.outputs["audio"].asset for run in records}) == 20
    listed, more = client.runs_page(graph="text2music", limit=200)
    assert more is None
    assert {run.id for run in listed} >= set(runs)
    output = watching.communicate(timeout=60)[1]
    assert watching.returncode == 0, output
    assert "goes on after an interruption" in output
    assert output.count("sampling") >= 1


def test_runs_beyond_the_queue_limit_are_refused(server: Server, client: Client) -> None:
    """Many concurrent submissions: the limit is exact, and refused runs leave nothing behind."""
    limits = Pool.read("local").limits
    before = {run.id for run in everything(client)}
    inputs = {"tags": "crowd", "duration": 60, "steps": 200}

    def submit(number: int) -> httpx2.Response:
        body = {"graph": "text2music", "inputs": {**inputs, "seed": number}}
        return http.post("/v1/runs", json=body)

    with httpx2.Client(base_url=server.url, timeout=60) as http, ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(submit, range(limits.queued + limits.running + 40)))
        accepted = {answer.json()["id"] for answer in answers if answer.status_code == 202}
        refused = [answer for answer in answers if answer.status_code != 202]
        assert {answer.status_code for answer in refused} == {503}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert limits.queued <= len(accepted) <= limits.queued + limits.running
        assert {run.id for run in everything(client)} - before == accepted
        list(threads.map(lambda run: http.delete(f"/v1/runs/{run}"), accepted))
    assert {client.wait(run, timeout=60).state for run in accepted} == {"cancelled"}


def test_a_killed_replica_costs_a_few_steps(server: Server, client: Client) -> None:
    runs = [server.song(client, seed=200 + i, **LONG).id for i in range(4)]
    eventually(lambda: sampling(client, runs[0]))
    os.kill(server.replica(), signal.SIGKILL)
    for run in runs:
        record = ended_once(client, run)
        assert record.state == "succeeded"
        assert record.content["attempt"] == 1  # the executor did not notice
    events = [event for event in client.events(runs[0]) if event.type == "progress" and event.node == "take"]
    again = [after for before, after in itertools.pairwise(event.content["step"] for event in events) if after < before]
    assert all(step >= 10 for step in again)  # from a saved state, not from the beginning


def test_a_client_that_hangs_up_leaves_nothing_behind(server: Server, client: Client) -> None:
    run = server.song(client, seed=400, **LONG).id
    with httpx2.stream("GET", f"{server.url}/v1/runs/{run}/events") as response:
        first = next(response.iter_raw())
    assert first
    assert ended_once(client, run).state == "succeeded"
    eventually(lambda: client.stats()["streams"] == 0)

    size = 50_000_000
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(f"POST /v1/assets HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode())
        half.sendall(bytes(1_000_000))
    unfinished = server.home / "artifacts" / "unfinished"
    eventually(lambda: not list(unfinished.iterdir()))


def test_a_file_that_is_not_audio_is_refused_in_one_line(server: Server, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"MZ" + bytes(1000))
    with pytest.raises(InputError, match="audio"):
        client.upload_asset(path)
    done = server.run("submit", "repaint", "--set", f"source={path}", "--set", "tags=x", "--set", "span=0:1")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_a_run_is_cancelled_at_a_step(server: Server, client: Client) -> None:
    run = server.song(client, seed=500, seconds=120, steps=200).id
    eventually(lambda: sampling(client, run))
    assert server.run("cancel", run).returncode == 0
    assert ended_once(client, run).state == "cancelled"
    watched = server.run("watch", run)
    assert watched.returncode == 130
    eventually(lambda: all(replica["under_way"] == 0 for replica in client.stats()["serving"]["all"]))


def test_a_server_makes_the_same_song_as_the_command_line(server: Server, client: Client) -> None:
    arguments = ["--set", "tags=lo-fi, piano", "--set", "duration=3", "--set", "steps=8", "--set", "seed=600"]
    served = server.run("submit", "text2music", *arguments)
    run = client.wait(served.stdout.strip(), timeout=60)
    recipe = json.loads(client.fetch_output(run.id, "recipe", server.folder / "recipe.json").read_text())
    here = server.run("run", "text2music", *arguments, "--out", "here", "--quiet")
    assert here.returncode == 0, here.stderr
    (path,) = (server.folder / "here").glob("*.json")
    assert json.loads(path.read_text())["outputs"] == recipe["outputs"]


def test_a_second_server_does_not_take_the_address(server: Server) -> None:
    done = server.run("serve", "--home", "other", "--port", str(server.port))
    assert done.returncode == 2
    assert f"127.0.0.1:{server.port}: " in done.stderr


def test_it_does_not_listen_publicly_without_keys(server: Server) -> None:
    done = server.run("serve", "--home", "other", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "without API keys" in done.stderr
