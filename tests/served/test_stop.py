"""Stopping the server."""

from __future__ import annotations

from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import RunState
from acestep_flows.client import Client
from tests.served.server import Server
from tests.served.test_faults import alive, eventually, family, sampling


def test_a_stopped_server_leaves_its_runs_for_the_next_start(server: Server, client: Client) -> None:
    """SIGTERM leaves no process, and unfinished runs wait for the next start."""
    assert server.process is not None
    runs = [server.song(client, seed=700 + i, seconds=10, steps=200).id for i in range(4)]
    eventually(lambda: sampling(client, runs[0]))
    left = family(server)
    assert server.stop() == 0
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
