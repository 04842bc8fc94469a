"""Stopping the server, and what it says of its start and its end."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import RunState
from acestep_flows.client import Client
from tests.served.server import COMMAND, Server, environment
from tests.served.test_faults import family, raylet, sampling
from tests.waiting import alive, eventually


def test_a_stopped_server_leaves_its_runs_for_the_next_start(server: Server, client: Client) -> None:
    """SIGTERM leaves no process, and unfinished runs wait for the next start."""
    assert server.process is not None
    runs = [server.song(client, seed=700 + i, seconds=10, steps=200).id for i in range(4)]
    eventually(lambda: sampling(client, runs[0]))
    left = family(server)
    before = len(server.log)
    assert server.stop() == 0
    assert server.log[before:].splitlines() == [
        "stopping; 4 runs under way may use 5 s more",
        "stopped; 4 runs go on after the next start",
    ]
    assert not [process for process in left if alive(process)]
    unreached = server.run("status", runs[0])
    assert unreached.returncode == 5
    assert "does not answer" in unreached.stderr
    home = Home.open(server.home)
    try:
        assert {home.runs.get(run).state for run in runs} == {RunState.QUEUED}
        assert home.leases.claim("the next one") is not None
    finally:
        home.close()


def test_a_signal_to_all_of_its_processes_is_a_stop(server: Server, client: Client) -> None:
    """As systemd sends it. Ray's processes get it first here, so that Ray is dead when the server hears of it."""
    assert server.process is not None
    run = server.song(client, seed=720, seconds=10, steps=200).id
    eventually(lambda: sampling(client, run))
    left, of_ray, before = family(server), raylet(server), len(server.log)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    eventually(lambda: not alive(of_ray))
    assert server.stop() == 0
    said = server.log[before:].splitlines()
    assert len(said) == 2, said
    first, last = said
    assert re.fullmatch(r"stopping(; \d+ runs? under way may use 5 s more)?", first)
    assert re.fullmatch(r"stopped; \d+ runs? goe?s? on after the next start", last)
    assert not [process for process in left if alive(process)]
    server.start()
    with server.client() as again:
        assert again.status(run).state in ("queued", "running")
        again.cancel(run)
        assert again.wait(run, timeout=60).state == "cancelled"


def test_a_start_says_what_it_does_and_ray_says_nothing(server: Server) -> None:
    said = server.log
    phases = ("weights: ", "pool: ", "log of Ray", "starting Ray", "starting 1 process", "process all: loading ")
    places = [said.index(phase) for phase in phases]
    assert places == sorted(places)
    assert f"{server.home.resolve()}/server.log" in said
    assert re.search(r"process all: loading \w+, \d of 9 \(\d+ s\)", said)
    assert "\x1b" not in said
    assert "raylet" not in said


def test_a_second_server_does_not_take_the_home(server: Server) -> None:
    done = server.run("serve", "--home", "../" + server.folder.name + "/server", "--port", "0")
    assert done.returncode == 1
    assert server.process is not None
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {server.home.resolve()}: in use by the server at {server.url} ")
    assert "starting Ray" not in done.stderr


@pytest.mark.parametrize(
    ("number", "code", "phase", "to_all"),
    [
        (signal.SIGTERM, 143, "starting Ray", False),
        (signal.SIGINT, 130, "starting Ray", False),
        (signal.SIGTERM, 143, "starting 1 process", True),
    ],
)
def test_a_start_can_be_stopped(
    number: signal.Signals, code: int, phase: str, to_all: bool, cache: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    command = [COMMAND, "serve", "--home", "home", "--port", "0", "--pool", "local"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(cache), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines: list[str] = []
        while not any(line.startswith(phase) for line in lines):
            lines.append(process.stderr.readline().strip())
            assert lines[-1], lines
        eventually(lambda: bool(psutil.Process(process.pid).children(recursive=True)))
        left = psutil.Process(process.pid).children(recursive=True)
        for one in left if to_all else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(number)
        process.send_signal(number)
        said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert said[1].splitlines()[-1] == "stopped before it was ready"
    assert said[0] == ""
    assert not [one for one in left if alive(one)]
    assert not (tmp_path / "home" / "server.json").exists()
