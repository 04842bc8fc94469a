"""Runs over HTTP: submit, list, wait, follow, cancel."""

from __future__ import annotations

import contextlib
import io
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import soundfile
from sqlalchemy import event

from acestep_flows.api.execution.run_news import PERIOD
from acestep_flows.api.http import long_poll
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import RunState
from acestep_flows.client import Client
from acestep_flows.errors import InputError
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, PATIENCE, SHORT, Door, opened
from tests.waiting import eventually

FIELDS = {
    "id", "graph", "state", "created_at", "nodes", "progress", "outputs", "error", "warnings", "queue_position",
    "estimate",
}  # fmt: skip


def test_a_run_is_accepted_shown_and_has_output_files(door: Door) -> None:
    response = door.client.post("/v1/runs", json={"graph": "text2music", "inputs": dict(SHORT), "format": "wav"})
    assert response.status_code == 202
    run = response.json()
    assert run.keys() >= FIELDS
    assert response.headers["location"] == run["links"]["self"] == f"/v1/runs/{run['id']}"
    assert run["state"] in ("queued", "running")
    done = door.until(run["id"])
    assert (done["state"], done["progress"], done["error"]) == ("succeeded", 1, None)
    assert done["inputs"]["seed"] == 3
    assert done["inputs"]["solver"] == "euler"
    assert {node["id"]: node["state"] for node in done["nodes"]}.keys() == {
        "prompt", "words", "noise", "take", "mel", "song"
    }  # fmt: skip
    assert {node["state"] for node in done["nodes"]} <= {"finished", "cached"}
    audio = done["outputs"]["audio"]
    assert audio["content_type"] == "audio/wav"
    file = door.client.get(audio["url"])
    assert file.headers["content-type"] == "audio/wav"
    assert len(file.content) == audio["bytes"] == int(file.headers["content-length"])
    assert soundfile.info(io.BytesIO(file.content)).duration == pytest.approx(1, abs=0.1)
    assert audio["file_name"] in file.headers["content-disposition"]
    assert done["outputs"]["latents"]["kind"] == "latents"


@pytest.mark.parametrize("path", ["", "/events", "/outputs/audio"])
def test_an_unknown_run_is_not_found(door: Door, path: str) -> None:
    assert door.client.get(f"/v1/runs/run-{'0' * 26}{path}").status_code == 404
    for id in ("nothing", "run-xyz", "..%2Fx", "a%00b"):
        assert door.client.get(f"/v1/runs/{id}{path}").status_code in (404, 422)
    assert door.client.delete(f"/v1/runs/run-{'0' * 26}").status_code == 404


@pytest.mark.parametrize("path", ["/v1/runs", "/v1/graphs/text2music/plan"])
def test_the_id_of_an_asset_is_no_text(waiting: Door, path: str) -> None:
    """A client that uploads a file for an input of text would get a song about the id."""
    id = f"asset-{'0' * 26}"
    body: dict[str, Any] = {"inputs": dict(SHORT) | {"tags": id}} | (
        {"graph": "text2music"} if path == "/v1/runs" else {}
    )
    response = waiting.client.post(path, json=body)
    assert response.status_code == 422
    error = response.json()["error"]
    assert (error["field"], error["allowed"]) == ("tags", "text")
    assert error["message"] == f"tags: {id} is the id of an asset (allowed: text)"
    body["inputs"]["tags"] = f"a song about {id}"
    assert waiting.client.post(path, json=body).is_success


def test_a_run_shows_its_options(waiting: Door) -> None:
    chosen: dict[str, Any] = {"format": "ogg", "cache": "off", "preview_every": 7, "priority": 3}
    run = waiting.submit(**chosen)
    waiting.client.delete(run["links"]["self"])
    (listed, *_) = waiting.client.get("/v1/runs").json()["runs"]
    for response in (run, waiting.client.get(run["links"]["self"]).json(), listed):
        assert {name: response[name] for name in chosen} == chosen


def test_a_run_is_cancelled_at_a_step_boundary(door: Door) -> None:
    run = door.submit(inputs=LONG)
    door.until(run["id"], "running")
    response = door.client.delete(f"/v1/runs/{run['id']}")
    assert response.status_code == 202
    begun = time.monotonic()
    over = door.until(run["id"])
    assert over["state"] == "cancelled"
    assert over["error"]["code"] == "cancelled"
    assert time.monotonic() - begun < 10
    again = door.client.delete(f"/v1/runs/{run['id']}")
    assert (again.status_code, again.json()["state"]) == (202, "cancelled")


def test_a_run_past_its_deadline_fails_with_that(door: Door) -> None:
    run = door.until(door.submit(inputs=LONG, deadline=0.5)["id"])
    assert run["state"] == "failed"
    assert run["error"]["code"] == "deadline_exceeded"


def test_runs_are_paged_newest_first(waiting: Door) -> None:
    submitted = []
    for _ in range(3):
        submitted.append(waiting.submit()["id"])
        waiting.client.delete(f"/v1/runs/{submitted[-1]}")
    listed: list[str] = []
    after: str | None = None
    while True:
        query: dict[str, str | int] = {"limit": 2, "state": "cancelled"}
        page = waiting.client.get("/v1/runs", params=query | ({"after": after} if after else {}))
        assert page.status_code == 200
        listed += [run["id"] for run in page.json()["runs"]]
        after = page.json()["next"]
        if after is None:
            break
    assert listed[:3] == submitted[::-1]
    assert listed == sorted(listed, reverse=True)
    assert waiting.client.get("/v1/runs", params={"graph": "repaint"}).json()["runs"] == []
    for params in ({"limit": 0}, {"limit": 10**9}, {"after": "x"}, {"state": "odd"}):
        assert waiting.client.get("/v1/runs", params=params).status_code == 422


def test_a_waiting_request_returns_at_the_end_of_the_run(door: Door) -> None:
    run = door.submit(inputs=dict(LONG) | {"seed": 77})["id"]
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(lambda: door.client.get(f"/v1/runs/{run}", params={"wait": 50}).json())
        door.until(run, "running")
        assert not held.done()
        door.client.delete(f"/v1/runs/{run}")
        assert held.result(30)["state"] == "cancelled"
    again = door.client.get(f"/v1/runs/{run}", params={"wait": 60}).json()
    assert again == held.result()


def test_a_disconnected_client_frees_its_stream(strict: Checkpoint, tmp_path: Path) -> None:
    options = ApiOptions(streams=2, render_seconds=600)
    with opened(tmp_path, strict, options=options, executing=False) as door:
        run = door.submit()["links"]["self"]
        for method, url, body in (
            ("GET", f"{run}?wait=60", None),
            ("POST", "/v1/graphs/text2music:render", {"inputs": dict(SHORT), "timeout": 600}),
        ):
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.request(method, door.url + url, json=body, timeout=1.0)
        end = time.monotonic() + 20
        while door.client.get("/v1/stats").json()["streams"]:
            assert time.monotonic() < end, "they wait for nobody"
            time.sleep(0.05)
        assert door.client.get("/v1/stats").json()["runs"]["queued"] == 2  # accepted runs stay queued


def test_a_request_waits_at_most_as_long_as_it_asks(waiting: Door) -> None:
    run = waiting.submit()
    for wait in ({}, {"wait": 0.05}):
        assert waiting.client.get(run["links"]["self"], params=wait).json()["state"] == "queued"
    for wrong in (-1, 61, "soon", "nan"):
        assert waiting.client.get(run["links"]["self"], params={"wait": wrong}).status_code == 422
    waiting.client.delete(run["links"]["self"])


def test_a_wait_without_a_free_stream_returns_at_once(waiting: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    run = waiting.submit()
    monkeypatch.setattr(waiting.app.state.streams, "_most", 0)
    monkeypatch.setattr("acestep_flows.api.http.routes.runs.wait_for_end", None)
    answer = waiting.client.get(run["links"]["self"], params={"wait": 30})
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    waiting.client.delete(run["links"]["self"])


def test_a_waiting_client_is_notified_of_the_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_poll, "QUIET_SECONDS", 10 * PATIENCE)
    with Client(door.url) as client:
        for seed in (501, 502):
            ended = client.wait(client.submit("text2music", {**SHORT, "seed": seed}).id, timeout=PATIENCE)
            assert ended.state == "succeeded"


def test_waiting_clients_ask_nothing_of_the_run_table(strict: Checkpoint, tmp_path: Path) -> None:
    """While nothing happens, the table is read as often for a hundred of them as for one."""
    options, statements = ApiOptions(render_seconds=20), list[str]()
    with opened(tmp_path, strict, options=options, executing=False) as door, ThreadPoolExecutor(100) as clients:
        run = door.submit()
        wait = partial(httpx2.get, f"{door.url}{run['links']['self']}", params={"wait": 20}, timeout=PATIENCE)
        answers = [clients.submit(wait) for _ in range(100)]
        eventually(lambda: door.client.get("/v1/stats").json()["streams"] == 100)
        time.sleep(0.5)
        event.listen(
            door.service.home.database._engine, "before_cursor_execute", lambda *call: statements.append(call[2])
        )
        time.sleep(2)
        reads = sum(statement.startswith("SELECT") for statement in statements)
        door.client.delete(run["links"]["self"])
        assert {answer.result().json()["state"] for answer in answers} == {"cancelled"}
    assert 0 < reads <= 2 / PERIOD + 2


def test_a_client_hears_of_a_run_that_another_server_ends(strict: Checkpoint, tmp_path: Path) -> None:
    """Long before it would look by itself."""
    with opened(tmp_path, strict, options=ApiOptions(render_seconds=20), executing=False) as door:
        run = door.submit()
        with ThreadPoolExecutor(2) as clients, contextlib.closing(Home.open(tmp_path)) as other:
            waiting = clients.submit(door.client.get, run["links"]["self"], params={"wait": 20})
            following = clients.submit(door.client.get, run["links"]["events"])
            eventually(lambda: door.service.news._watchers == 2)
            claimed = other.leases.claim("another server")
            assert claimed is not None
            begun = time.monotonic()
            other.leases.finish(claimed.lease, RunState.FAILED, error=InputError("no"))
            assert waiting.result().json()["state"] == "failed"
            assert "event: failed" in following.result().text
            assert time.monotonic() - begun < long_poll.QUIET_SECONDS
        assert door.service.news._reading is not None
        eventually(door.service.news._reading.done)
