"""The server as one process, its stages in this one: how it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from acestep_flows.api import server
from acestep_flows.api.server import ServerOptions, serve_forever
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.runtime.local import LocalRunner
from acestep_flows.settings import read_settings
from tests.api.door import SHORT

SONG = {"graph": "text2music", "inputs": dict(SHORT) | {"duration": 10, "steps": 200}}


class Here(LocalRunner):
    """Runs the stages in this process, as a pool is asked of itself."""

    async def stats(self) -> Mapping[str, Any]:
        return {}


def leave(url: str) -> list[str]:
    """Ask the server to end in the middle of a run that is being followed; the types of the events that came."""
    with httpx.Client(base_url=url, timeout=120) as client:
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
    monkeypatch.setattr(server, "local_ray", lambda *hardware: contextlib.nullcontext())
    monkeypatch.setattr(server, "deploy", lambda args: Here(strict, workers=2))
    options = ServerOptions(host="127.0.0.1", port=0, home=tmp_path, pool="local", drain=120)
    leaving: list[Future[list[str]]] = []
    with ThreadPoolExecutor(1) as pool:
        serve_forever(
            options, read_settings(), lambda said: leaving.append(pool.submit(leave, said.split()[2].rstrip(";")))
        )
        begun = time.monotonic()
        types = leaving[0].result(1)
    assert types[-1] == "succeeded"
    assert time.monotonic() - begun < options.drain / 2, "it waits no longer than its runs take"
