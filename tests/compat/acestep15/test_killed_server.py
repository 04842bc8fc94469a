"""A server that is killed while a client of 1.5 polls: its next polls get the song, which was accepted once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx2

from tests.compat.acestep15.bodies import task
from tests.compat.songs import root_of
from tests.served.server import Server

PATIENCE = 120.0


def test_polling_goes_on_after_the_server_was_killed(server: Server) -> None:
    root = root_of(server, "acestep15")
    body = task(audio_duration=30, inference_steps=100)
    id = httpx2.post(f"{root}/release_task", json=body).json()["data"]["task_id"]
    until(root, id, lambda status, item: item["progress"] > 0)
    server.kill()
    server.start()
    item = until(root, id, lambda status, item: status == 1)
    assert httpx2.get(f"{root}{item['file']}").status_code == 200
    assert item["seed_value"] == "7"


def until(root: str, id: str, is_so: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
    """Poll as clients do, whatever happens to the server."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            answer = httpx2.post(f"{root}/query_result", json={"task_id_list": [id]}, timeout=5)
        except httpx2.TransportError:
            continue
        (found,) = answer.json()["data"]
        item: dict[str, Any] = json.loads(found["result"])[0]
        assert found["status"] < 2, found
        if is_so(found["status"], item):
            return item
        time.sleep(0.05)
    raise AssertionError("the task does not go on")
