"""A server that is killed while a client of v1's REST waits: its own retry gets the song, which was not made twice."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.compat.songs import root_of
from tests.compat.v1.bodies import infer
from tests.served.server import Server

PATIENCE = 120.0


def test_a_retry_gets_the_song_of_a_killed_server(server: Server) -> None:
    url, headers = f"{root_of(server, 'v1')}/generate", {"Idempotency-Key": "the rain"}
    body = infer(audio_duration=30, infer_step=200)

    def ask() -> httpx2.Response:
        return httpx2.post(url, json=body, headers=headers, timeout=PATIENCE)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask)
        id = running_since_then(server)
        server.kill()
        with pytest.raises(httpx2.TransportError):
            first.result()
    server.start()
    answer = ask()
    assert answer.status_code == 200, answer.text
    assert answer.json()["run"] == id
    assert httpx2.get(answer.json()["output_path"]).status_code == 200


def running_since_then(server: Server) -> str:
    """The id of the run that has begun to sample."""
    end = time.monotonic() + PATIENCE
    with server.client() as client:
        while time.monotonic() < end:
            for run in client.runs(limit=1):
                if run.state == "running" and run.progress > 0:
                    return run.id
            time.sleep(0.05)
    raise AssertionError("no run has begun")
