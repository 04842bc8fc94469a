"""Whole flows of the clients that people have, request by request: their order, their bodies, and what they read."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2

from tests.api.door import Door
from tests.compat.acestep15.bodies import of_page, task
from tests.compat.songs import KEYS, port_of, root_of
from tests.served.server import Server

PATIENCE = 60.0


def finished(client: httpx2.Client, url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Poll as all of them do: until the status is not 0."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        (found,) = client.post(url, json=body).json()["data"]
        if found["status"]:
            assert found["status"] == 1, found
            items: list[dict[str, Any]] = json.loads(found["result"])
            return items
        time.sleep(0.1)
    raise AssertionError("no song")


def test_a_client_that_knows_only_a_port(server: Server) -> None:
    """As Wrangler: it asks for health and models, and takes a file without a question mark for one of its own disk."""
    with httpx2.Client(base_url=port_of(server, "acestep15"), timeout=PATIENCE) as client:
        assert client.get("/health").status_code == 200
        assert [model["id"] for model in client.get("/v1/models").json()["data"]]
        answer = client.post("/release_task", json=task(batch_size=2, thinking=True, audio_format="wav32"))
        data = answer.json()["data"]
        assert [line for line in data["warnings"] if line.startswith("thinking=")]
        items = finished(client, "/query_result", {"task_id_list": json.dumps([data["task_id"]])})
        assert [item["seed_value"] for item in items] == ["7", "8"]
        for item in items:
            assert "?" in item["file"]
            assert client.get(item["file"]).content.startswith(b"RIFF")


def test_a_client_that_joins_files_to_its_base(door: Door) -> None:
    """As immich's: a file is joined to the base, and status and error are read from the task."""
    base = root_of(door, "acestep15")
    body = task(prompt="calm, piano", lyrics="[Instrumental]", thinking=False, batch_size=1, audio_format="wav")
    id = door.client.post(f"{base}/release_task", json=body).json()["data"]["task_id"]
    (item,) = finished(door.client, f"{base}/query_result", {"task_id_list": [id]})
    assert item["file"].startswith("/")
    assert door.client.get(f"{base}{item['file']}").content.startswith(b"RIFF")


def test_a_studio_whose_player_sends_no_key(keyed: Door, tone: Path) -> None:
    """As the DAW: it reads the inventory, uploads audio in a form with its key, and plays files without it."""
    base, headers = root_of(keyed, "acestep15"), {"Authorization": f"Bearer {KEYS['alice']}"}
    with httpx2.Client(timeout=PATIENCE, headers=headers) as client:
        inventory = client.get(f"{base}/v1/model_inventory").json()["data"]
        assert "lego" not in inventory["models"][0]["supported_task_types"]
        form = {
            "task_type": "cover",
            "prompt": "jazz",
            "inference_steps": "3",
            "audio_format": "wav",
            "batch_size": "1",
        }
        files = {"ctx_audio": ("context.wav", tone.read_bytes(), "audio/wav")}
        answer = client.post(f"{base}/release_task", data=form, files=files).json()
        (item,) = finished(client, f"{base}/query_result", {"task_id_list": [answer["data"]["task_id"]]})
        assert item["file"].startswith("/v1/")
        refused = client.post(f"{base}/release_task", data={"task_type": "lego", "track_name": "drums"})
        assert (refused.status_code, refused.json()["code"]) == (400, 400)
    assert httpx2.get(urljoin(f"{base}/", item["file"].lstrip("/"))).content.startswith(b"RIFF")


def test_the_page_of_1_5_reads_errors_and_progress(door: Door) -> None:
    base = root_of(door, "acestep15")
    wrong = door.client.post(f"{base}/release_task", json=of_page(audio_duration="600")).json()
    assert (wrong["code"], wrong["error"].partition(":")[0]) == (400, "audio_duration")
    form = of_page(seed="11", use_random_seed="false")
    data = door.client.post(f"{base}/release_task", json=form).json()["data"]
    items = finished(door.client, f"{base}/query_result", {"task_id_list": [data["task_id"]]})
    assert [item["seed_value"] for item in items] == ["11", "12"]
    assert all(item["generation_info"] for item in items)
