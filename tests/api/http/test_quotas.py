"""Quotas at the doors: what is refused, with which words, and what a caller is told of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from acestep_flows.api.http.keys import Key, Keyring, add_key, new_key, read_keys
from acestep_flows.client import Client
from acestep_flows.errors import InputError, QuotaExceeded
from acestep_flows.model.checkpoint import Checkpoint
from acestep_flows.settings import Settings
from tests.api.door import SHORT, Door, opened, sound

BYTES = 60_000


SECRET, ALICE = new_key("alice")


@pytest.fixture(scope="module")
def limited(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server for one key, which may keep as many bytes as one upload of a third of a second has."""
    keys = Keyring([ALICE.model_copy(update={"stored_bytes": BYTES, "compute_seconds_per_day": 1000})])
    with opened(tmp_path_factory.mktemp("home"), strict, keys=keys, headers={"X-API-Key": SECRET}) as door:
        yield door


def test_bytes_and_seconds_are_limited(limited: Door) -> None:
    first = limited.upload(sound(0.3))
    assert first.status_code == 201, first.text
    me = limited.client.get("/v1/me").json()
    assert (me["stored_bytes"], me["stored_bytes_now"]) == (BYTES, first.json()["bytes"])
    assert (me["compute_seconds_per_day"], me["compute_seconds_today"]) == (1000, 0)
    second = limited.upload(sound(0.3))
    assert second.status_code == 429
    error = second.json()["error"]
    assert (error["code"], error["limit"]) == ("quota_exceeded", "stored_bytes")
    assert f"{first.json()['bytes']} of {BYTES} bytes" in error["message"]
    assert int(second.headers["retry-after"]) > 0
    limited.finished()
    body = {"graph": "text2music", "inputs": {**SHORT, "seed": 99}}
    refused = limited.client.post("/v1/runs", json=body)
    assert refused.status_code == 429
    assert refused.json()["error"]["limit"] == "stored_bytes"
    plan = limited.client.post("/v1/graphs/text2music/plan", json={"inputs": dict(SHORT)})
    assert plan.status_code == 200, "planning is free"
    me = limited.client.get("/v1/me").json()
    assert me["compute_seconds_today"] > 0
    for asset in limited.client.get("/v1/assets").json()["assets"]:
        limited.client.delete(f"/v1/assets/{asset['id']}")
    for run in limited.client.get("/v1/runs").json()["runs"]:
        limited.client.delete(run["links"]["self"], params={"forget": True})
    assert limited.client.get("/v1/me").json()["stored_bytes_now"] == 0
    assert limited.upload(sound(0.3)).status_code == 201


def test_a_run_that_was_accepted_is_found_again(limited: Door) -> None:
    for asset in limited.client.get("/v1/assets").json()["assets"]:
        limited.client.delete(f"/v1/assets/{asset['id']}")
    body = {"graph": "text2music", "inputs": dict(SHORT), "idempotency_key": "once"}
    run = limited.client.post("/v1/runs", json=body).json()
    limited.until(run["id"])
    again = limited.client.post("/v1/runs", json=body)
    assert (again.status_code, again.json()["id"]) == (202, run["id"])
    other = limited.client.post("/v1/runs", json={**body, "idempotency_key": "twice"})
    assert other.status_code == 429


def test_our_client_raises_it(limited: Door) -> None:
    def submit_many(client: Client) -> None:
        for seed in range(9):
            client.wait(client.submit("text2music", {**SHORT, "seed": seed}).id)

    with Client(limited.url, SECRET, patience=1) as client, pytest.raises(QuotaExceeded) as refused:
        submit_many(client)
    assert math.isfinite(refused.value.retry_after)


def test_keys_have_them_in_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    add_key(file, "alice", compute_seconds_per_day=3600, stored_bytes=10**10)
    environment = "bob=0123456789abcdef compute_seconds_per_day=60 stored_bytes=5"
    keys = read_keys(Settings(cache=tmp_path, api_keys=environment, api_key_file=file))
    alice, bob = keys.named("alice"), keys.named("bob")
    assert isinstance(alice, Key)
    assert isinstance(bob, Key)
    assert (alice.compute_seconds_per_day, alice.stored_bytes) == (3600, 10**10)
    assert (bob.quotas.compute_seconds, bob.quotas.bytes) == (60, 5)
    assert alice.sha256 not in str(alice.public)
    assert alice.public["stored_bytes"] == 10**10
    with pytest.raises(InputError, match="limits of bob are not usable.*stored_bytes=N"):
        read_keys(Settings(cache=tmp_path, api_keys="bob=0123456789abcdef stored_bytes=0"))
