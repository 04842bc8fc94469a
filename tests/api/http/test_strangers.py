"""What a stranger sees of what another caller renders, by every route: nothing but the load of the server."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened, sound
from tests.api.http.routes.callers import TwoCallers, two_callers

SONG: Mapping[str, Any] = {"tags": "a secret song", "duration": 1.5, "steps": 3, "seed": 4242}
NOWHERE = "0" * 26


@pytest.fixture(scope="module")
def callers(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoCallers]:
    """Alice has rendered a song, and uploaded a file; bob is the stranger."""
    with two_callers(tmp_path_factory.mktemp("strangers"), strict) as callers:
        yield callers


@pytest.fixture(scope="module")
def before(callers: TwoCallers) -> dict[str, Any]:
    """What bob saw before alice did anything."""
    return views(callers.bob, callers.door)


@pytest.fixture(scope="module")
def song(callers: TwoCallers, before: dict[str, Any]) -> dict[str, Any]:
    return callers.door.finished(inputs=SONG, preview_every=1, labels={"title": "secret"}, idempotency_key="again")


@pytest.fixture(scope="module")
def upload(callers: TwoCallers, before: dict[str, Any]) -> dict[str, Any]:
    asset: dict[str, Any] = callers.door.upload(sound(0.7), "secret.wav").json()
    return asset


def operations(door: Door) -> Iterator[tuple[str, str]]:
    document: Mapping[str, Any] = door.client.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method in methods:
            yield method.upper(), path


def views(client: httpx2.Client, door: Door) -> dict[str, Any]:
    """Everything that can be read without an id, and a plan."""
    seen: dict[str, Any] = {}
    for method, path in operations(door):
        if method == "GET" and "{" not in path and path not in ("/v1/events", "/openapi.json", "/docs"):
            seen[path] = client.get(path).text
    plan = client.post("/v1/graphs/text2music/plan", json={"inputs": dict(SONG)})
    seen["plan"] = plan.json()
    return seen


def submitted(client: httpx2.Client, door: Door, **more: Any) -> dict[str, Any]:
    """A run of a client to its end."""
    answer = client.post("/v1/runs", json={"graph": "text2music", "inputs": dict(SONG)} | more)
    assert answer.status_code == 202, answer.text
    end = time.monotonic() + 60
    while (run := client.get(f"/v1/runs/{answer.json()['id']}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert run["state"] == "succeeded", run
    return dict(run)


def events(client: httpx2.Client, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = client.get(run["links"]["events"]).text
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def shape(content: Any) -> Any:
    """JSON without what differs between any two runs: numbers, times, ids and digests."""
    if isinstance(content, Mapping):
        return {name: shape(part) for name, part in content.items()}
    if isinstance(content, list):
        return [shape(part) for part in content]
    if isinstance(content, bool) or content is None:
        return content
    if isinstance(content, (int, float)):
        return "number"
    return re.sub(r"[0-9a-f]{64}|\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)|-[0-9a-f]{6}\b", "*",
                  re.sub(r"(run|asset)-[0-9a-f]{26}", "id", content))  # fmt: skip


def test_nothing_that_is_read_without_an_id_changes(
    callers: TwoCallers, before: dict[str, Any], song: dict[str, Any], upload: dict[str, Any]
) -> None:
    after = views(callers.bob, callers.door)
    assert before.keys() == after.keys()
    assert len(after) > 12
    for path, content in before.items():
        assert after[path] == content, path
    assert "secret" not in json.dumps({path: view for path, view in after.items() if path != "plan"})
    assert {node["fate"] for node in after["plan"]["nodes"]} == {"computed"}
    assert {node["seconds"] for node in after["plan"]["nodes"]} == {None}


def test_every_route_answers_for_a_strangers_id_as_for_none(
    callers: TwoCallers, song: dict[str, Any], upload: dict[str, Any]
) -> None:
    seen = 0
    for method, path in operations(callers.door):
        names = re.findall(r"\{(\w+)", path)
        if "id" not in names:
            continue
        real = upload["id"] if "/assets/" in path else song["id"]
        ids = [real, f"{real.partition('-')[0]}-{NOWHERE}"]
        if "/assets/" in path:
            ids.append(song["outputs"]["audio"]["asset"])
        answers = []
        for id in ids:
            url = path.replace("{id}", id).replace("{name}", "audio")
            url = re.sub(r"\{node[^}]*\}", "take", url)
            body = None if method == "GET" else {"labels": {"title": "mine"}} if method == "PATCH" else {}
            for query in ("", "?forget=true" if method == "DELETE" and path.endswith("/runs/{id}") else ""):
                answer = callers.bob.request(method, url + query, json=body)
                answers.append((answer.status_code, answer.text.replace(id, "ID"), sorted(answer.headers)))
        assert {status for status, *_ in answers} <= {404, 422}, (method, path, answers)
        assert all(answer == answers[0] for answer in answers), (method, path, answers)
        seen += 1
    assert seen > 12


def test_a_strangers_ids_are_no_inputs(callers: TwoCallers, song: dict[str, Any], upload: dict[str, Any]) -> None:
    for route in ("/v1/runs", "/v1/graphs/repaint:render", "/v1/graphs/repaint/plan"):
        said = set()
        for asset in (upload["id"], song["outputs"]["audio"]["asset"], f"asset-{NOWHERE}"):
            body: dict[str, Any] = {"inputs": {"source": asset, "tags": "x", "span": [0, 0.5]}}
            body |= {"graph": "repaint"} if route == "/v1/runs" else {}
            answer = callers.bob.post(route, json=body)
            assert answer.status_code == 404
            said.add(answer.text.replace(asset, "ID"))
        assert len(said) == 1, said


def test_keys_pages_and_numbers_of_another_are_ones_own(callers: TwoCallers, song: dict[str, Any]) -> None:
    body = {"graph": "text2music", "inputs": {"tags": "x", "duration": 1, "steps": 1}, "idempotency_key": "again"}
    assert callers.bob.post("/v1/runs", json=body).status_code == 202
    for after in (song["id"], f"run-{'f' * 26}"):
        runs = callers.bob.get("/v1/runs", params={"after": after}).json()["runs"]
        assert song["id"] not in {run["id"] for run in runs}
    assert callers.bob.get("/v1/runs", params={"label": "title:secret"}).json()["runs"] == []


def test_a_song_that_another_rendered_is_told_as_ones_own(callers: TwoCallers, song: dict[str, Any]) -> None:
    """Every answer about a run that came out of the cache has the form of one that was computed."""
    usage = callers.bob.get("/v1/usage").json()["usage"]
    spent = usage[0]["compute_seconds"] if usage else 0.0
    hit = submitted(callers.bob, callers.door)
    fresh = submitted(callers.bob, callers.door, cache="off")
    assert shape(hit) | {"cache": "off"} == shape(fresh)
    assert {node["state"] for node in hit["nodes"]} <= {"finished", "skipped"}
    told, computed = events(callers.bob, hit), events(callers.bob, fresh)
    for node in {event["node"] for event in computed if event["node"]}:
        kinds = [[e["type"] for e in listed if e["node"] == node] for listed in (told, computed)]
        assert [kind for kind in kinds[0] if kind != "progress"] == [kind for kind in kinds[1] if kind != "progress"]
        assert ("progress" in kinds[0]) == ("progress" in kinds[1]), node
        lasts = [[e for e in listed if e["node"] == node][-1] for listed in (told, computed)]
        assert shape(lasts[0]) == shape(lasts[1])
    steps = [{node["id"]: (node["step"], node["steps"]) for node in run["nodes"]} for run in (hit, fresh)]
    assert steps[0] == steps[1]
    recipes = [callers.bob.get(run["outputs"]["recipe"]["url"]).json() for run in (hit, fresh)]
    assert {node["source"] for node in recipes[0]["nodes"]} == {node["source"] for node in recipes[1]["nodes"]}
    assert all(node["seconds"] > 0 for node in recipes[0]["nodes"] if node["source"] == "computed")
    assert shape(recipes[0]) == shape(recipes[1])
    assert callers.bob.get("/v1/usage").json()["usage"][0]["compute_seconds"] > spent
    assert "cached" not in json.dumps([hit, told, recipes[0]])


def test_an_upload_that_another_has_too_is_told_as_ones_own(callers: TwoCallers, upload: dict[str, Any]) -> None:
    same = callers.bob.post("/v1/assets", params={"file_name": "mine.wav"}, content=sound(0.7))
    other = callers.bob.post("/v1/assets", params={"file_name": "mine.wav"}, content=sound(0.8))
    assert (same.status_code, same.json()["id"] == upload["id"]) == (other.status_code, False)
    assert shape(same.json()) == shape(other.json())
    assert same.json()["sha256"] == upload["sha256"]
    for query in ("content", "peaks"):
        answers = [callers.bob.get(f"/v1/assets/{each.json()['id']}/{query}") for each in (same, other)]
        assert sorted(answers[0].headers) == sorted(answers[1].headers)
    assert callers.bob.delete(f"/v1/assets/{same.json()['id']}").status_code == 204
    assert callers.alice.get(upload["url"]).content == sound(0.7)
    assert callers.bob.get(f"/v1/assets/{same.json()['id']}").status_code == 404


def test_the_events_of_all_runs_are_those_of_ones_own(callers: TwoCallers, song: dict[str, Any]) -> None:
    with callers.bob.stream("GET", "/v1/events", params={"after": 0}) as stream:
        seen = b""
        for part in stream.iter_bytes():
            seen += part
            if b"succeeded" in seen:
                break
    assert song["id"].encode() not in seen
    assert b'"cached"' not in seen


def test_a_plan_of_ones_own_knows_ones_own_runs(callers: TwoCallers, song: dict[str, Any]) -> None:
    plan = callers.bob.post("/v1/graphs/text2music/plan", json={"inputs": dict(SONG)}).json()
    take = next(node for node in plan["nodes"] if node["id"] == "take")
    assert take["fate"] == "computed"
    assert take["seconds"] > 0
    assert (take["bytes"], plan["peak_bytes"]) == (None, None)


def test_numbers_of_the_whole_server_are_for_operators(callers: TwoCallers, song: dict[str, Any]) -> None:
    page = callers.bob.get("/metrics").text
    names = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
    assert {"acestep_flows_streams", "acestep_flows_executors"} <= names
    assert names <= {"acestep_flows_streams", "acestep_flows_executors", "acestep_flows_process_replicas"}
    alices = callers.alice.get("/v1/stats").json()["runs"]["succeeded"]
    assert alices == len(callers.alice.get("/v1/runs").json()["runs"])
    callers.door.service.keys.keys[1].__dict__["operator"] = True  # bob's key, as its record would say
    try:
        assert "acestep_flows_runs_ended_total" in callers.bob.get("/metrics").text
        assert callers.bob.get("/v1/stats").json()["runs"]["succeeded"] > alices
    finally:
        callers.door.service.keys.keys[1].__dict__["operator"] = False


def test_what_was_written_for_a_sole_caller_is_told_alike(strict: Checkpoint, tmp_path: Path) -> None:
    """A sole caller is told of the cache; once there is a second one, nobody is, of earlier runs either."""
    (secret, key), (_, other) = new_key("alice"), new_key("bob")
    headers = {"X-API-Key": secret}
    with opened(tmp_path, strict, keys=Keyring([key]), headers=headers) as door:
        door.finished(inputs=SONG)
        run = door.finished(inputs=SONG)
        assert "cached" in {node["state"] for node in run["nodes"]}
        assert "cached" in {event["type"] for event in events(door.client, run)}
        plan = door.client.post("/v1/graphs/text2music/plan", json={"inputs": dict(SONG)}).json()
        assert {node["fate"] for node in plan["nodes"]} == {"cached"}
        assert "acestep_flows_runs_ended_total" in door.client.get("/metrics").text
    with opened(tmp_path, strict, keys=Keyring([key, other]), headers=headers, executing=False) as door:
        again = door.client.get(run["links"]["self"]).json()
        assert {node["state"] for node in again["nodes"]} <= {"finished", "skipped"}
        assert "cached" not in {event["type"] for event in events(door.client, run)}
        with door.client.stream("GET", "/v1/events", params={"after": 0}) as stream:
            assert '"cached"' not in next(part for part in stream.iter_text() if "succeeded" in part)
