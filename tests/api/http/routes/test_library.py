"""What a caller has: labels, filters, deletion, uploads, and events of all runs. Strangers find nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from acestep_flows.graph.content import sha256
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, SHORT, Door, sound
from tests.api.http.routes.callers import TwoCallers, two_callers


@pytest.fixture(scope="module")
def callers(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoCallers]:
    with two_callers(tmp_path_factory.mktemp("callers"), strict) as callers:
        yield callers


def listed(client: httpx2.Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/v1/runs", params=query)
    assert answer.status_code == 200, answer.text
    runs: list[dict[str, Any]] = answer.json()["runs"]
    return runs


def test_labels_are_given_changed_and_filtered(waiting: Door) -> None:
    labels = {"title": "Night bus \U0001f3b5", "session": "a:b"}
    run = waiting.submit(labels=labels)
    assert run["labels"] == labels
    url = run["links"]["self"]
    changed = waiting.client.patch(url, json={"labels": {"title": "<img onerror=x>", "session": None, "star": "1"}})
    assert changed.status_code == 200
    assert changed.json()["labels"] == {"star": "1", "title": "<img onerror=x>"}
    assert waiting.client.get(url).json()["labels"] == changed.json()["labels"]
    assert [found["id"] for found in listed(waiting.client, label=["star", "title:<img onerror=x>"])] == [run["id"]]
    assert listed(waiting.client, label="session") == []
    waiting.client.delete(url)
    assert waiting.client.patch(url, json={"labels": {"note": "after its end"}}).status_code == 200


@pytest.mark.parametrize(
    "labels", [{"Title": "x"}, {"title": ""}, {"title": 5}, {"title": "x" * 501}, {"t": "\0"}, ["title"],
               {f"l{number}": "x" for number in range(17)}],
)  # fmt: skip
def test_unusable_labels_are_refused(waiting: Door, labels: Any) -> None:
    run = waiting.submit()
    waiting.client.delete(run["links"]["self"])
    body = {"graph": "text2music", "inputs": dict(SHORT), "labels": labels}
    for answer in (
        waiting.client.post("/v1/runs", json=body),
        waiting.client.patch(run["links"]["self"], json={"labels": labels}),
    ):
        assert answer.status_code == 422
        assert "labels" in answer.json()["error"]["message"]


def test_what_is_no_name_or_id_is_not_found(callers: TwoCallers) -> None:
    run = callers.door.finished()["links"]["self"]
    for method, path in (
        ("DELETE", f"{run}/outputs/a%00b"),
        ("DELETE", f"{run}/outputs/nothing"),
        ("GET", f"{run}/outputs/a%00b/peaks"),
        ("DELETE", f"/v1/assets/asset-{'0' * 26}"),
        ("DELETE", f"/v1/runs/run-{'0' * 26}?forget=true"),
        ("GET", "/v1/links/a%00b"),
    ):
        assert callers.alice.request(method, path).status_code == 404, path


def test_labels_belong_to_what_an_idempotency_key_stands_for(waiting: Door) -> None:
    body: dict[str, Any] = {"graph": "text2music", "inputs": dict(SHORT), "idempotency_key": "labelled"}
    first = waiting.client.post("/v1/runs", json=body).json()
    assert waiting.client.post("/v1/runs", json=body | {"labels": {}}).json()["id"] == first["id"]
    assert waiting.client.post("/v1/runs", json=body | {"labels": {"star": "1"}}).status_code == 409
    waiting.client.delete(first["links"]["self"])


def test_a_request_of_0_1_0_is_still_the_same_request(waiting: Door) -> None:
    """Its digest is in homes of that time, for whoever repeats it."""
    options = {
        "priority": 0,
        "deadline": None,
        "cache": "use",
        "format": "flac",
        "preview_every": None,
        "webhook": None,
    }
    body = {"graph": "text2music", "inputs": dict(SHORT), "idempotency_key": "of before"}
    run = waiting.client.post("/v1/runs", json=body).json()
    kept = waiting.home.runs.accepted("", "of before", sha256(["text2music", dict(SHORT), options]))
    assert kept is not None
    assert kept.id == run["id"]
    waiting.client.delete(run["links"]["self"])


def test_lists_have_inputs_on_demand_and_are_filtered_by_date(waiting: Door) -> None:
    run = waiting.submit()
    waiting.client.delete(run["links"]["self"])
    (with_inputs, *_), (without, *_) = listed(waiting.client, inputs=True), listed(waiting.client)
    assert (with_inputs["id"], with_inputs["inputs"]) == (run["id"], run["inputs"])
    assert without["inputs"] is None
    created = run["created_at"]
    assert run["id"] in [found["id"] for found in listed(waiting.client, created_after=created)]
    assert run["id"] not in [found["id"] for found in listed(waiting.client, created_before=created)]
    assert listed(waiting.client, created_after="2100-01-01T00:00:00") == []
    assert waiting.client.get("/v1/runs", params={"created_after": "soon"}).status_code == 422


def test_an_edit_knows_its_parent(callers: TwoCallers) -> None:
    song = callers.door.finished()
    edit = callers.door.finished("decode", {"latents": song["outputs"]["latents"]["asset"]})
    assert edit["labels"] == {"parent": song["id"]}
    assert [run["id"] for run in listed(callers.alice, label=f"parent:{song['id']}")] == [edit["id"]]


def test_a_run_in_hand_is_cancelled_but_not_forgotten(callers: TwoCallers) -> None:
    run = callers.door.submit(inputs=LONG)
    url = run["links"]["self"]
    refused = callers.alice.delete(url, params={"forget": True})
    assert refused.status_code == 409
    assert "cancel it" in refused.json()["error"]["message"]
    assert callers.alice.delete(url).status_code == 202
    callers.door.until(run["id"])
    assert callers.alice.delete(url, params={"forget": False}).status_code == 202
    forgotten = callers.alice.delete(url, params={"forget": True})
    assert (forgotten.status_code, forgotten.content) == (204, b"")
    for gone in (callers.alice.get(url), callers.alice.delete(url, params={"forget": True})):
        assert gone.status_code == 404


def test_outputs_and_uploads_are_deleted(callers: TwoCallers) -> None:
    run = callers.door.finished()
    latents = run["outputs"]["latents"]
    assert callers.alice.delete(latents["url"]).status_code == 204
    assert callers.alice.get(latents["url"]).status_code == 404
    assert callers.alice.delete(latents["url"]).status_code == 404
    outputs = callers.alice.get(run["links"]["self"]).json()["outputs"]
    assert (outputs["latents"]["expired"], outputs["audio"]["expired"]) == (True, False)
    uploads = [callers.door.upload(sound(0.1), f"{number}.wav").json() for number in range(3)]
    page = callers.alice.get("/v1/assets", params={"limit": 2}).json()
    assert page["assets"] == uploads[:0:-1]
    rest = callers.alice.get("/v1/assets", params={"limit": 2, "after": page["next"]}).json()
    assert rest["assets"][0] == uploads[0]
    assert callers.alice.delete(f"/v1/assets/{uploads[0]['id']}").status_code == 204
    assert callers.alice.get(uploads[0]["url"]).status_code == 404
    assert callers.alice.get(uploads[1]["url"]).status_code == 200


def test_strangers_find_nothing(callers: TwoCallers) -> None:
    run, asset = callers.door.finished(), callers.door.upload(sound(0.1)).json()
    url, audio = run["links"]["self"], run["outputs"]["audio"]
    mine = f"/v1/assets/{asset['id']}"
    requests: list[tuple[str, str, Any]] = [
        ("PATCH", url, {"labels": {"title": "his"}}),
        ("DELETE", f"{url}?forget=true", None),
        ("DELETE", audio["url"], None),
        ("DELETE", mine, None),
        ("DELETE", f"/v1/assets/{audio['asset']}", None),
        ("GET", f"{audio['url']}?format=mp3", None),
        ("GET", f"{audio['url']}/peaks", None),
        ("GET", f"{mine}/peaks", None),
        ("GET", f"/v1/assets/{audio['asset']}/peaks", None),
        ("POST", f"{audio['url']}/link", {}),
        ("POST", f"{mine}/link", {}),
    ]
    for method, path, body in requests:
        assert callers.bob.request(method, path, json=body).status_code == 404, (method, path)
        assert callers.nobody.request(method, path, json=body).status_code == 401, (method, path)
    assert listed(callers.bob) == callers.bob.get("/v1/assets").json()["assets"] == []
    assert callers.alice.get(url).json() == run
    for method, path, body in requests[5:]:
        assert callers.alice.request(method, path, json=body).status_code in (200, 201), (method, path)


class Listener:
    """Reads the stream of all events until it has seen what it waits for."""

    def __init__(self, client: httpx2.Client, **request: Any) -> None:
        self._client, self._request = client, request

    def until(self, type: str, run: str = "") -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        with self._client.stream("GET", "/v1/events", **self._request) as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            for line in response.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line.removeprefix("data: ")))
                    if events[-1]["type"] == type and events[-1].get("run", "") == run:
                        return events
        raise AssertionError(events)


def test_one_stream_has_the_events_of_all_runs(callers: TwoCallers) -> None:
    (ready,) = Listener(callers.alice).until("ready")
    one, two = callers.door.finished()["id"], callers.door.finished(inputs={**SHORT, "seed": 99})["id"]
    events = Listener(callers.alice, params={"after": ready["number"]}).until("succeeded", two)[1:]
    numbers = [event["number"] for event in events]
    assert numbers == sorted(set(numbers))
    assert {event["run"] for event in events} == {one, two}
    for run in (one, two):
        stored = callers.door.home.runs.events(run)
        mine = [event for event in events if event["run"] == run]
        assert [(event["seq"], event["type"]) for event in mine] == [(event.seq, event.type) for event in stored]
        assert mine[-1]["progress"] == 1
    middle = numbers[len(numbers) // 2]
    again = Listener(callers.alice, headers={"Last-Event-ID": str(middle)}).until("succeeded", two)[1:]
    assert again == [event for event in events if event["number"] > middle]


def test_a_stream_has_nothing_of_others(callers: TwoCallers) -> None:
    (ready,) = Listener(callers.bob).until("ready")
    callers.door.finished(inputs={**SHORT, "seed": 5})
    refused = callers.bob.post("/v1/runs", json={"graph": "text2music", "inputs": dict(SHORT)}).json()["id"]
    seen = Listener(callers.bob, params={"after": ready["number"]}).until("accepted", refused)
    assert {event.get("run", refused) for event in seen} == {refused}
    assert callers.nobody.get("/v1/events").status_code == 401
    assert callers.bob.get("/v1/events", headers={"Last-Event-ID": "x"}).status_code == 422
