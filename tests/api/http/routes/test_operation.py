"""What operators do over HTTP: pause, resume and drain, and read the audit log. Other keys may not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, SHORT, Door, opened
from tests.api.http.test_metrics import numbers_of


@contextmanager
def kept(root: Path, strict: Checkpoint) -> Iterator[tuple[Door, httpx2.Client]]:
    """A server with keys, a client with an administrator's, and one with that of who only sees all numbers."""
    (ops, operator), (mine, alice) = new_key("ops"), new_key("alice")
    ring = Keyring([operator.model_copy(update={"admin": True}), alice.model_copy(update={"operator": True})])
    with (
        opened(root, strict, keys=ring, headers={"X-API-Key": ops}) as door,
        httpx2.Client(base_url=door.url, headers={"X-API-Key": mine}, timeout=60) as caller,
    ):
        yield door, caller


def test_a_paused_queue_accepts_and_starts_nothing(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict) as door:
        running = door.submit(inputs={**LONG, "seed": 1})["id"]
        door.until(running, "running")
        answer = door.client.post("/v1/queue:pause", json={"reason": "new weights"}).json()
        assert answer["paused"]["reason"] == "new weights"
        time.sleep(1)  # what executors and readiness had read may be half a second old
        waiting = door.submit()["id"]
        time.sleep(1)
        assert door.client.get(f"/v1/runs/{waiting}").json()["state"] == "queued"
        assert door.client.get(f"/v1/runs/{running}").json()["state"] == "running"
        ready = door.client.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["reason"] == "the queue is paused (new weights): runs are accepted and wait"
        assert door.client.get("/v1/stats").json()["paused"] is True
        assert numbers_of(door.client)["acestep_flows_queue_paused",] == 1
        shown = door.client.get("/v1/queue").json()
        assert (shown["queued"], shown["running"]) == (1, 1)
        assert [server["runs"] for server in shown["servers"]] == [1]
        door.client.delete(f"/v1/runs/{running}")
        assert door.until(running)["state"] == "cancelled", "cancelling goes on"
    with opened(tmp_path, strict) as door:  # a restart does not end a pause
        time.sleep(1)
        assert door.client.get(f"/v1/runs/{waiting}").json()["state"] == "queued"
        assert door.client.post("/v1/queue:resume").json()["paused"] is None
        assert door.until(waiting)["state"] == "succeeded"
        assert door.client.get("/readyz").json() == {"ready": True, "reason": ""}


def test_a_server_that_drains_ends_what_it_has(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict) as door:
        run = door.submit(inputs={**LONG, "steps": 5, "duration": 5, "seed": 1})["id"]
        door.until(run, "running")
        (server,) = door.client.get("/v1/queue").json()["servers"]
        answer = door.client.post(f"/v1/servers/{server['name']}:drain", json={}).json()
        assert answer["servers"][0]["drains"]["reason"] == ""
        time.sleep(1)
        waiting = door.submit()["id"]
        assert door.until(run)["state"] == "succeeded"
        time.sleep(1)
        assert door.client.get(f"/v1/runs/{waiting}").json()["state"] == "queued"
        door.client.post(f"/v1/servers/{server['name']}:undrain")
        assert door.until(waiting)["state"] == "succeeded"
        unknown = door.client.post("/v1/servers/nobody:drain", json={})
        assert (unknown.status_code, unknown.json()["error"]["allowed"]) == (404, server["name"])


def test_only_administrators_may(strict: Checkpoint, tmp_path: Path) -> None:
    with kept(tmp_path, strict) as (door, caller):
        for method, path in (
            ("GET", "/v1/queue"),
            ("POST", "/v1/queue:pause"),
            ("POST", "/v1/queue:resume"),
            ("POST", "/v1/servers/x:drain"),
            ("POST", "/v1/servers/x:undrain"),
            ("GET", "/v1/audit"),
        ):
            body: dict[str, str] | None = {} if path.endswith((":pause", ":drain")) else None
            refused = caller.request(method, path, json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden"), path
            assert httpx2.request(method, f"{door.url}{path}", json=body).status_code == 401
        assert door.client.get("/v1/queue").json()["paused"] is None


def test_the_audit_log_says_who_did_what(strict: Checkpoint, tmp_path: Path) -> None:
    with kept(tmp_path, strict) as (door, caller):
        run = caller.post("/v1/runs", json={"graph": "text2music", "inputs": {**SHORT, "tags": "a secret"}}).json()
        end = time.monotonic() + 60
        while caller.get(run["links"]["self"]).json()["state"] != "succeeded":
            assert time.monotonic() < end
            time.sleep(0.05)
        audio = caller.get(run["links"]["self"]).json()["outputs"]["audio"]
        caller.post(f"{audio['url']}/link", json={"seconds": 60})
        caller.delete(run["links"]["self"], params={"forget": True})
        door.client.post("/v1/queue:pause", json={"reason": "why"})
        door.client.post("/v1/queue:resume")
        entries = door.client.get("/v1/audit").json()["entries"]
        assert [(entry["who"], entry["action"], entry["object"]) for entry in reversed(entries)] == [
            ("alice", "run.submitted", run["id"]),
            ("alice", "link.made", audio["asset"]),
            ("alice", "run.deleted", run["id"]),
            ("ops", "queue.paused", "queue"),
            ("ops", "queue.resumed", "queue"),
        ]
        assert "secret" not in door.client.get("/v1/audit").text
        page = door.client.get("/v1/audit", params={"who": "alice", "action": "run", "limit": 1}).json()
        assert [entry["action"] for entry in page["entries"]] == ["run.deleted"]
        rest = door.client.get("/v1/audit", params={"who": "alice", "action": "run", "before": page["next"]}).json()
        assert [entry["action"] for entry in rest["entries"]] == ["run.submitted"]
        assert rest["next"] is None


@pytest.mark.parametrize("reason", ["x" * 501, "\0", 5])
def test_reasons_are_texts(strict: Checkpoint, tmp_path: Path, reason: object) -> None:
    with opened(tmp_path, strict, executing=False) as door:
        assert door.client.post("/v1/queue:pause", json={"reason": reason}).status_code == 422
        assert door.client.get("/v1/queue").json()["paused"] is None
