"""Renders: one request that runs a graph and returns its audio."""

from __future__ import annotations

import io

import httpx2
import pytest
import soundfile

from tests.api.door import LONG, SHORT, Door

TRICKS = ("../../runs.sqlite", "/etc/passwd", "..", "~", "a/b", "a\\b")


@pytest.mark.parametrize("output", [*TRICKS, "audio/../latents", "audio./../../x"])
def test_no_output_is_rendered_by_path(door: Door, output: str) -> None:
    door.finished()
    response = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT), "output": output})
    assert response.status_code in (404, 422), response.text
    assert response.json()["error"]["code"] in ("invalid_input", "not_found")


def test_a_render_returns_the_audio(door: Door) -> None:
    response = door.client.post(
        "/v1/graphs/text2music:render", json={"inputs": dict(SHORT) | {"seed": 9}, "format": "wav"}
    )
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "audio/wav"
    assert soundfile.info(io.BytesIO(response.content)).duration == pytest.approx(1, abs=0.1)
    run = door.client.get(f"/v1/runs/{response.headers['x-run-id']}").json()
    assert run["state"] == "succeeded"
    report = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT), "output": "report"})
    assert report.headers["content-type"] == "application/json"
    assert isinstance(report.json(), dict)


def test_a_render_that_takes_too_long_returns_a_link_to_the_run(waiting: Door) -> None:
    response = waiting.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT), "timeout": 0.2})
    assert response.status_code == 504
    answer = response.json()
    assert answer["error"]["code"] == "deadline_exceeded"
    run = waiting.client.get(answer["run"]["url"]).json()
    assert run["state"] == "queued"
    assert answer["run"]["url"] in response.headers["link"]
    waiting.client.delete(answer["run"]["url"])


def test_a_render_that_fails_returns_the_error(door: Door) -> None:
    long = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(LONG), "deadline": 0.3})
    assert (long.status_code, long.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert door.client.post("/v1/graphs/nothing:render", json={"inputs": {}}).status_code == 404
    unknown = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT), "output": "video"})
    assert unknown.status_code == 422


def test_a_run_continues_when_its_waiting_client_disconnects(door: Door) -> None:
    body = {"inputs": dict(SHORT) | {"seed": 4242, "steps": 20}, "idempotency_key": "leaver"}
    with pytest.raises(httpx2.ReadTimeout):
        door.client.post("/v1/graphs/text2music:render", json=body, timeout=0.05)
    again = door.client.post("/v1/graphs/text2music:render", json=body)
    assert again.status_code == 200
