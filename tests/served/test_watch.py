"""A server whose processes stand still, or whose Ray dies. The last test ends the server."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx2
import psutil

from acestep_flows.client import Client
from tests.served.server import Server
from tests.served.test_faults import family, raylet, sampling
from tests.waiting import alive, eventually

PATIENCE = 120.0
"""Seconds for what takes some seconds on a machine that is not busy."""

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"


def readiness(server: Server) -> httpx2.Response:
    return httpx2.get(f"{server.url}/readyz", trust_env=False, timeout=10)


def kind(process: psutil.Process) -> str:
    """What a process is, as the table of docs/serving.md calls it."""
    name = str(process.name())
    words = " ".join(process.cmdline())
    if name in ("gcs_server", "raylet"):
        return name
    if "DashboardAgent" in words:
        return "dashboard agent"
    if "RuntimeEnvAgent" in words:
        return "runtime environment agent"
    return "worker" if words.startswith("ray::") else "the server"


def test_all_that_listens_is_in_the_docs_and_on_loopback(server: Server) -> None:
    """Every socket that waits for connections, over the network or not, in the whole tree of processes."""
    assert server.process is not None
    listed = re.findall(r"^\| ([\w ]+) \| (\d) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    most = {name: int(sockets) for name, sockets in listed}
    assert "raylet" in most
    for process in (psutil.Process(server.process.pid), *family(server)):
        sockets = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
        assert len(sockets) <= most.get(kind(process), 0), (process, sockets)
        for one in sockets:
            assert one.laddr.ip.removeprefix("::ffff:") == "127.0.0.1", (process, one)


def test_its_files_are_closed_to_others(server: Server) -> None:
    assert server.process is not None
    sockets = {
        Path(one.laddr)
        for process in family(server)
        for one in process.net_connections("unix")
        if one.laddr and one.laddr.startswith("/")
    }
    assert sockets
    for path in sockets:
        assert any(folder.stat().st_mode & 0o077 == 0 for folder in path.parents), path


def test_a_replica_that_stands_still_is_replaced_and_holds_no_cancelled_run(server: Server, client: Client) -> None:
    replica = psutil.Process(server.replica())
    run = server.song(client, seed=900, seconds=120, steps=200).id
    eventually(lambda: sampling(client, run))
    replica.suspend()
    stopped = time.monotonic()
    eventually(lambda: readiness(server).status_code == 503, PATIENCE)
    assert readiness(server).json()["reason"].startswith("process all does not answer")
    refused = httpx2.post(f"{server.url}/v1/runs", json={"graph": "text2music", "inputs": {}}, trust_env=False)
    assert refused.status_code == 503
    client.cancel(run)
    assert client.wait(run, timeout=PATIENCE).state == "cancelled"
    cancelled = time.monotonic() - stopped
    eventually(lambda: readiness(server).status_code == 200, PATIENCE)
    assert not alive(replica)
    assert cancelled < 60, "it ended before the replica was replaced, or soon after"
    again = server.song(client, seed=901).id
    assert client.wait(again, timeout=PATIENCE).state == "succeeded"


def test_a_killed_controller_is_replaced(server: Server) -> None:
    (controller,) = (one for one in family(server) if " ".join(one.cmdline()).startswith("ray::ServeController"))
    controller.kill()
    eventually(lambda: not alive(controller))
    eventually(lambda: readiness(server).status_code == 200, PATIENCE)


def test_a_raylet_that_stands_still_is_told_until_it_goes_on(server: Server, client: Client) -> None:
    """It is not killed, as whoever stopped it may let it go on. The server ends only if that takes long."""
    stopped = raylet(server)
    stopped.suspend()
    try:
        eventually(lambda: readiness(server).status_code == 503, PATIENCE)
        assert readiness(server).json()["reason"] == "Ray's raylet stands still"
        refused = httpx2.post(f"{server.url}/v1/runs", json={"graph": "text2music", "inputs": {}}, trust_env=False)
        assert refused.status_code == 503
    finally:
        stopped.resume()
    eventually(lambda: readiness(server).status_code == 200, PATIENCE)
    assert client.wait(server.song(client, seed=903).id, timeout=PATIENCE).state == "succeeded"


def test_a_server_whose_ray_dies_ends_with_an_error(server: Server, client: Client) -> None:
    """Nothing is left, and the run under way is taken up by the next start."""
    assert server.process is not None
    run = server.song(client, seed=902, seconds=120, steps=200).id
    eventually(lambda: sampling(client, run))
    left = family(server)
    before = len(server.log)
    raylet(server).kill()
    server.process.communicate(timeout=PATIENCE)
    assert server.process.returncode == 1
    (said,) = server.log[before:].splitlines()
    assert said.startswith("error: Ray's raylet has ended, so no run can be computed; start the server again")
    assert not [process for process in left if alive(process)]
