"""Accepting runs: validation, idempotency, limits."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile

from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.retention import RetentionPolicy, sweep
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import SHORT, Door, opened, sound
from tests.api.http.routes.test_graphs import TRIM

TRICKS = ("../../runs.sqlite", "/etc/passwd", "..", "~", "a/b", "a\\b")


def _json(body: Any) -> bytes:
    import json

    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "graph"),
        ({"graph": "text2music", "inputs": []}, "inputs"),
        ({"graph": "text2music", "inputs": {}}, "tags"),
        ({"graph": "text2music", "inputs": {"tags": "x", "tempo": 9}}, "tempo"),
        ({"graph": "text2music", "inputs": {"tags": 5}}, "tags"),
        ({"graph": "text2music", "inputs": {"tags": "x", "duration": 1e9}}, "duration"),
        ({"graph": "text2music", "inputs": {"tags": "x", "duration": "long"}}, "duration"),
        ({"graph": "text2music", "inputs": {"tags": "x", "steps": 0}}, "steps"),
        ({"graph": "text2music", "inputs": {"tags": "a\ud800b"}}, "surrogate"),
        ({"graph": "text2music", "inputs": {"tags": "a\0b"}}, "null"),
        ({"graph": "text2music", "inputs": {"tags": "x"}, "colour": 1}, "colour"),
        ({"graph": "text2music", "inputs": {"tags": "x"}, "priority": 10**30}, "priority"),
        ({"graph": "text2music", "inputs": {"tags": "x"}, "deadline": -1}, "deadline"),
        ({"graph": "text2music", "inputs": {"tags": "x"}, "format": "exe"}, "format"),
        ({"graph": "text2music", "inputs": {"tags": "x"}, "webhook": {"url": "https://a.example"}}, "webhook"),
        ({"graph": "decode", "inputs": {"latents": "/etc/passwd"}}, "/etc/passwd"),
        ({"graph": "decode", "inputs": {"latents": {"path": "/etc/passwd"}}}, "latents"),
        ({"graph": "decode", "inputs": {"latents": 3}}, "asset"),
        ({"graph": TRIM, "inputs": {"source": "x"}}, "graph of your own"),
        ({"graph": TRIM, "inputs": {"source": "x"}}, "--inline-graphs"),
    ],
)
def test_invalid_submissions_are_refused_with_a_reason(door: Door, body: dict[str, Any], word: str) -> None:
    before = door.client.get("/v1/stats").json()["runs"]
    response = door.client.post("/v1/runs", content=_json(body), headers={"Content-Type": "application/json"})
    assert response.status_code in (404, 422), response.text
    error = response.json()["error"]
    assert word in error["message"]
    assert error["code"] in ("invalid_input", "not_found")
    after = door.client.get("/v1/stats").json()["runs"]
    assert sum(after.values()) == sum(before.values())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nothing", b"[1]", b"\xff\xfe", b'{"graph": NaN}',
     b'{"graph": "text2music", "inputs": {"tags": Infinity}}', b"[" * 50_000, b'{"a": 1' + b"0" * 5000 + b"}",
     b'{"graph":"text2music","inputs":' + b'{"a":' * 900 + b"1" + b"}" * 901,
     b'{"graph": "text2music", "inputs": {"tags": "x", "seed": 1' + b"0" * 400 + b"}}"],
)  # fmt: skip
def test_broken_json_is_refused(door: Door, content: bytes) -> None:
    for path in ("/v1/runs", "/v1/graphs/text2music/plan", "/v1/graphs/text2music:render", "/v1/graphs:check"):
        response = door.client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422), response.text
        assert response.json()["error"]["message"]


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(door: Door) -> None:
    huge = b'{"graph": "text2music", "inputs": {"tags": "' + b"x" * 3_000_000 + b'"}}'
    response = door.client.post("/v1/runs", content=huge, headers={"Content-Type": "application/json"})
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"

    def endless() -> Iterator[bytes]:
        for _ in range(300):
            yield b"x" * 10_000

    response = door.client.post("/v1/runs", content=endless(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_adapters_go_by_name_only(strict: Checkpoint, tmp_path: Path) -> None:
    graph: dict[str, Any] = {
        "graph": "voiced",
        "version": 1,
        "inputs": {"voice": {"type": "text"}},
        "nodes": {
            "prompt": {"stage": "encode_prompt", "with": {"tags": "x"}},
            "words": {"stage": "encode_lyrics", "with": {"lyrics": "", "adapter": "$voice"}},
            "noise": {"stage": "init_noise", "with": {"duration": 1, "seed": 1}},
            "take": {
                "stage": "sample",
                "with": {"prompt": "$prompt", "lyrics": "$words", "noise": "$noise", "steps": 1, "adapter": "$voice"},
            },
        },
        "outputs": {"latents": "$take.latents"},
    }
    with opened(tmp_path, strict, options=ApiOptions(inline_graphs=True)) as door:
        door.finished(graph, {"voice": "voice"})
        path = str(strict.root / "adapters" / "voice")
        run = door.until(door.submit(graph, {"voice": path})["id"])
        assert run["state"] == "failed"
        assert run["error"]["node"] in ("words", "take")
        assert run["error"]["code"] == "invalid_input"
        assert str(strict.root) not in str(run["error"])
        missing = door.until(door.submit(graph, {"voice": "nobody"})["id"])
        assert "voice" in missing["error"]["message"]
        assert str(strict.root) not in str(missing)


def test_control_branches_go_by_name_only(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict) as door:
        track = door.upload(sound(0.5)).json()["id"]
        folder = strict.root / "controls" / "stemgen"
        assert folder.is_dir()
        for branch in (str(folder), *TRICKS):
            inputs = {"track": track, "instrument": "bass", "steps": 1, "control_branch": branch}
            run = door.until(door.submit("stemgen", inputs)["id"])
            assert (run["state"], run["error"]["code"]) == ("failed", "invalid_input"), branch
            assert run["error"]["node"] == "take"
            assert str(strict.root) not in str(run["error"])
        missing = door.until(door.submit("rap", {"lyrics": "x", "tags": "x", "adapter": "nobody"})["id"])
        assert "voice" in missing["error"]["message"]
        assert "folder" not in missing["error"]["message"]
        assert missing["error"]["field"] == "adapter"
        assert "voice" in missing["error"]["allowed"]


def test_the_same_idempotency_key_gives_the_same_run(door: Door) -> None:
    body = {"graph": "text2music", "inputs": dict(SHORT) | {"seed": 5}}
    header = {"Idempotency-Key": "one"}
    first = door.client.post("/v1/runs", json=body, headers=header)
    again = door.client.post("/v1/runs", json=body | {"idempotency_key": "one"})
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    other = door.client.post("/v1/runs", json=body | {"priority": 3}, headers=header)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    assert other.json()["error"]["field"] == "Idempotency-Key"
    in_body = door.client.post("/v1/runs", json=body | {"priority": 3, "idempotency_key": "one"})
    assert (in_body.status_code, in_body.json()["error"]["field"]) == (409, "idempotency_key")
    both = door.client.post("/v1/runs", json=body | {"idempotency_key": "two"}, headers=header)
    assert both.status_code == 422
    assert door.client.post("/v1/runs", json=body | {"idempotency_key": ""}).status_code == 422
    assert door.client.post("/v1/runs", json=body | {"idempotency_key": "x" * 300}).status_code == 422


def test_a_retry_succeeds_although_an_input_has_expired(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, executing=False) as door:
        source = door.upload(sound()).json()["id"]
        body = {"graph": "audio2audio", "inputs": {"reference": source, "tags": "x"}, "idempotency_key": "k"}
        first = door.client.post("/v1/runs", json=body)
        assert first.status_code == 202, first.text
        door.client.delete(first.json()["links"]["self"])
        sweep(door.home, RetentionPolicy(files=0), time.time() + 1, grace=0)
        assert door.client.get(f"/v1/assets/{source}").status_code == 404
        again = door.client.post("/v1/runs", json=body)
        assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
        assert door.client.post("/v1/runs", json=body | {"priority": 1}).status_code == 409
        assert door.client.post("/v1/runs", json=body | {"idempotency_key": "other"}).status_code == 404


def test_one_key_many_times_at_once_is_one_run(door: Door) -> None:
    body = {"graph": "text2music", "inputs": dict(SHORT) | {"seed": "random"}, "idempotency_key": "crowd"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: door.client.post("/v1/runs", json=body), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


def test_a_full_queue_refuses_runs_with_retry_after(waiting: Door) -> None:
    runs = [waiting.submit() for _ in range(3)]
    assert [run["queue_position"] for run in runs] == [0, 1, 2]
    for path, body in (("/v1/runs", {"graph": "text2music"}), ("/v1/graphs/text2music:render", {})):
        response = waiting.client.post(path, json=body | {"inputs": dict(SHORT)})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["error"]["code"] == "overloaded"
    assert waiting.client.get("/v1/stats").json()["runs"]["queued"] == 3
    cancelled = waiting.client.delete(f"/v1/runs/{runs[0]['id']}").json()
    assert cancelled["state"] == "cancelled"
    urgent = waiting.submit(priority=5)
    assert urgent["queue_position"] == 0
    for run in waiting.client.get("/v1/runs").json()["runs"]:
        waiting.client.delete(f"/v1/runs/{run['id']}")


def test_concurrent_submissions_stop_at_the_queue_limit(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(queued=50), executing=False) as door:
        body = {"graph": "text2music", "inputs": dict(SHORT)}
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: door.client.post("/v1/runs", json=body), range(300)))
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(202), statuses.count(503)) == (50, 250)
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
        assert door.client.get("/v1/stats").json()["runs"]["queued"] == 50


def test_an_inline_graph_runs_if_the_server_allows_it(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(inline_graphs=True)) as door:
        asset = door.upload(sound()).json()["id"]
        run = door.finished(TRIM, {"source": asset})
        assert run["graph"] == "mine"
        content = door.client.get(run["outputs"]["audio"]["url"]).content
        assert soundfile.info(io.BytesIO(content)).duration == pytest.approx(0.5, abs=0.01)
        broken = TRIM | {"nodes": {"cut": {"stage": "trimm"}}}
        response = door.client.post("/v1/runs", json={"graph": broken, "inputs": {}})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_graph")
        assert response.json()["error"]["problems"]


def test_a_server_that_takes_no_runs_says_so(strict: Checkpoint, tmp_path: Path) -> None:
    reasons = [""]
    with opened(tmp_path, strict, executing=False, ready=lambda: reasons[0]) as door:
        body = {"graph": "text2music", "inputs": dict(SHORT), "idempotency_key": "k"}
        run = door.client.post("/v1/runs", json=body).json()["id"]
        reasons[0] = "the server is ending"
        for path, request in (("/v1/runs", body | {"idempotency_key": "l"}), ("/v1/graphs/text2music:render", {})):
            response = door.client.post(path, json=request | {"inputs": dict(SHORT)})
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            assert "ending" in response.json()["error"]["message"]
        assert door.client.post("/v1/runs", json=body).json()["id"] == run
        assert door.client.get("/v1/stats").json()["runs"]["queued"] == 1
