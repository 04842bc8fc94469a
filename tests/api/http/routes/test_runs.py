"""Runs over HTTP: from acceptance to the file."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import soundfile

from acestep_flows.api.http.long_poll import Pace
from acestep_flows.api.options import ApiOptions
from acestep_flows.api.store.retention import RetentionPolicy, sweep
from acestep_flows.client import Client
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import LONG, PATIENCE, SHORT, Door, opened, sound
from tests.api.http.routes.test_graphs import TRIM

FIELDS = {
    "id", "graph", "state", "created_at", "nodes", "progress", "outputs", "error", "warnings", "queue_position",
    "estimate",
}  # fmt: skip


@pytest.fixture(scope="module")
def waiting(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server on which nothing is ever executed, and little may wait."""
    with opened(
        tmp_path_factory.mktemp("waiting"), strict, options=ApiOptions(queued=3, render_seconds=1), executing=False
    ) as door:
        yield door


def test_a_run_is_accepted_and_told_and_gives_its_files(door: Door) -> None:
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


def test_an_output_is_an_input_of_the_next_run(door: Door) -> None:
    first = door.finished()
    latents = first["outputs"]["latents"]["asset"]
    second = door.finished("decode", {"latents": latents})
    assert second["inputs"]["latents"] == {"asset": latents}
    one, two = (soundfile.read(io.BytesIO(door.client.get(run["outputs"]["audio"]["url"]).content))[0]
                for run in (first, second))  # fmt: skip
    assert (one == two).all()
    wrong = door.client.post(
        "/v1/runs", json={"graph": "decode", "inputs": {"latents": first["outputs"]["audio"]["asset"]}}
    )
    assert wrong.status_code == 422
    assert "holds audio" in wrong.json()["error"]["message"]


def test_ranges_etags_and_head(door: Door) -> None:
    audio = door.finished()["outputs"]["audio"]
    whole = door.client.get(audio["url"]).content
    part = door.client.get(audio["url"], headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    assert door.client.get(audio["url"], headers={"Range": "bytes=-7"}).content == whole[-7:]
    assert door.client.get(audio["url"], headers={"Range": "bytes=5-"}).content == whole[5:]
    beyond = door.client.get(audio["url"], headers={"Range": f"bytes={len(whole)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    head = door.client.head(audio["url"])
    assert (head.status_code, int(head.headers["content-length"]), head.content) == (200, len(whole), b"")
    tag = head.headers["etag"]
    assert door.client.get(audio["url"], headers={"If-None-Match": tag}).status_code == 304
    changed = {"Range": "bytes=0-1", "If-Range": '"another"'}
    assert door.client.get(audio["url"], headers=changed).content == whole


@pytest.mark.parametrize("name", ["nothing", "..%2F..%2Fruns.sqlite", "audio.flac", "a%00", "%2Fetc%2Fpasswd"])
def test_outputs_that_are_not_there(door: Door, name: str) -> None:
    run = door.finished()
    response = door.client.get(f"/v1/runs/{run['id']}/outputs/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("path", ["", "/events", "/outputs/audio"])
def test_an_unknown_run_is_not_found(door: Door, path: str) -> None:
    assert door.client.get(f"/v1/runs/run-{'0' * 26}{path}").status_code == 404
    for id in ("nothing", "run-xyz", "..%2Fx", "a%00b"):
        assert door.client.get(f"/v1/runs/{id}{path}").status_code in (404, 422)
    assert door.client.delete(f"/v1/runs/run-{'0' * 26}").status_code == 404


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
    ],
)
def test_what_cannot_be_run_is_refused_with_a_reason(door: Door, body: dict[str, Any], word: str) -> None:
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


TRICKS = ("../../runs.sqlite", "/etc/passwd", "..", "~", "a/b", "a\\b")


def test_control_branches_go_by_name_only(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict) as door:
        track = door.upload(sound(0.5)).json()["id"]
        there = strict.root / "controls" / "stemgen"
        assert there.is_dir()
        for branch in (str(there), *TRICKS):
            inputs = {"track": track, "instrument": "bass", "steps": 1, "control_branch": branch}
            run = door.until(door.submit("stemgen", inputs)["id"])
            assert (run["state"], run["error"]["code"]) == ("failed", "invalid_input"), branch
            assert run["error"]["node"] == "take"
            assert str(strict.root) not in str(run["error"])
        missing = door.until(door.submit("rap", {"lyrics": "x", "tags": "x", "adapter": "nobody"})["id"])
        assert "voice" in missing["error"]["message"]
        assert "folder" not in missing["error"]["message"]


@pytest.mark.parametrize("node", [*TRICKS, "%2e%2e/x", "take/../../x", "take\0"])
def test_no_preview_is_found_by_path(door: Door, node: str) -> None:
    run = door.finished()
    response = door.client.get(f"/v1/runs/{run['id']}/previews/{quote(node, safe='').replace('.', '%2E')}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("output", [*TRICKS, "audio/../latents", "audio./../../x"])
def test_no_output_is_rendered_by_path(door: Door, output: str) -> None:
    door.finished()
    response = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT), "output": output})
    assert response.status_code in (404, 422), response.text
    assert response.json()["error"]["code"] in ("invalid_input", "not_found")


def test_the_same_idempotency_key_gives_the_same_run(door: Door) -> None:
    body = {"graph": "text2music", "inputs": dict(SHORT) | {"seed": 5}}
    header = {"Idempotency-Key": "one"}
    first = door.client.post("/v1/runs", json=body, headers=header)
    again = door.client.post("/v1/runs", json=body | {"idempotency_key": "one"})
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    other = door.client.post("/v1/runs", json=body | {"priority": 3}, headers=header)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "conflict")
    both = door.client.post("/v1/runs", json=body | {"idempotency_key": "two"}, headers=header)
    assert both.status_code == 422
    assert door.client.post("/v1/runs", json=body | {"idempotency_key": ""}).status_code == 422
    assert door.client.post("/v1/runs", json=body | {"idempotency_key": "x" * 300}).status_code == 422


def test_a_retry_is_answered_though_what_the_run_read_has_expired(strict: Checkpoint, tmp_path: Path) -> None:
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


def links(content: Any) -> Iterator[str]:
    """Every place of this server that an answer names."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from links(part)
    elif isinstance(content, str) and content.startswith("/v1/"):
        yield content


def test_every_link_leads_somewhere(door: Door) -> None:
    source = door.upload(sound()).json()["id"]
    run = door.finished("text2music", dict(SHORT) | {"seed": 31, "steps": 4}, preview_every=1, cache="refresh")
    inputs = {"reference": source, "tags": "x", "steps": 2}
    late = door.client.post("/v1/graphs/audio2audio:render", json={"inputs": inputs, "timeout": 0.001})
    assert late.status_code == 504
    pending = ["/v1/runs", f"/v1/assets/{source}", "/v1/graphs", *links(run), *links(late.json())]
    seen: dict[str, int] = {}
    while pending:
        if (url := pending.pop()) in seen or "picture" in url:
            continue
        response = door.client.get(url)
        seen[url] = response.status_code
        if response.headers.get("content-type") == "application/json":
            found = response.json()
            pending += links(found.get("runs", [])[:3] if url == "/v1/runs" else found)
    assert seen.keys() >= {f"/v1/runs/{run['id']}{part}" for part in ("", "/events", "/outputs", "/previews/take")}
    assert set(seen.values()) == {200}, {url: status for url, status in seen.items() if status != 200}


def test_outputs_alone_and_once_their_time_is_over(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict) as door:
        run = door.finished()
        listed = door.client.get(run["links"]["outputs"]).json()
        assert listed == {"outputs": run["outputs"]}
        assert not any(output["expired"] for output in run["outputs"].values())
        sweep(door.home, RetentionPolicy(files=0), time.time() + 1)
        gone = door.client.get(run["links"]["outputs"]).json()["outputs"]
        assert gone.keys() == run["outputs"].keys()
        for output in gone.values():
            assert output["expired"]
            for method in ("GET", "HEAD"):
                assert door.client.request(method, output["url"]).status_code == 404
        assert door.client.get(f"/v1/runs/run-{'0' * 26}/outputs").status_code == 404


def test_what_a_run_was_submitted_with_is_shown(waiting: Door) -> None:
    chosen: dict[str, Any] = {"format": "ogg", "cache": "off", "preview_every": 7, "priority": 3}
    run = waiting.submit(**chosen)
    waiting.client.delete(run["links"]["self"])
    (listed, *_) = waiting.client.get("/v1/runs").json()["runs"]
    for shown in (run, waiting.client.get(run["links"]["self"]).json(), listed):
        assert {name: shown[name] for name in chosen} == chosen


def test_one_key_many_times_at_once_is_one_run(door: Door) -> None:
    body = {"graph": "text2music", "inputs": dict(SHORT) | {"seed": "random"}, "idempotency_key": "crowd"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: door.client.post("/v1/runs", json=body), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1


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


def test_a_full_queue_turns_away_and_says_when_to_come_again(waiting: Door) -> None:
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


def test_a_crowd_is_taken_up_to_the_limit_and_no_further(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict, options=ApiOptions(queued=50), executing=False) as door:
        body = {"graph": "text2music", "inputs": dict(SHORT)}
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: door.client.post("/v1/runs", json=body), range(300)))
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(202), statuses.count(503)) == (50, 250)
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
        assert door.client.get("/v1/stats").json()["runs"]["queued"] == 50


def test_runs_are_paged_newest_first(waiting: Door) -> None:
    made = []
    for _ in range(3):
        made.append(waiting.submit()["id"])
        waiting.client.delete(f"/v1/runs/{made[-1]}")
    found: list[str] = []
    after: str | None = None
    while True:
        asked: dict[str, str | int] = {"limit": 2, "state": "cancelled"}
        page = waiting.client.get("/v1/runs", params=asked | ({"after": after} if after else {}))
        assert page.status_code == 200
        found += [run["id"] for run in page.json()["runs"]]
        after = page.json()["next"]
        if after is None:
            break
    assert found[:3] == made[::-1]
    assert found == sorted(found, reverse=True)
    assert waiting.client.get("/v1/runs", params={"graph": "repaint"}).json()["runs"] == []
    for params in ({"limit": 0}, {"limit": 10**9}, {"after": "x"}, {"state": "odd"}):
        assert waiting.client.get("/v1/runs", params=params).status_code == 422


def test_a_song_that_is_waited_for(door: Door) -> None:
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


def test_a_song_that_takes_too_long_goes_on_elsewhere(waiting: Door) -> None:
    response = waiting.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT), "timeout": 0.2})
    assert response.status_code == 504
    answer = response.json()
    assert answer["error"]["code"] == "deadline_exceeded"
    run = waiting.client.get(answer["run"]["url"]).json()
    assert run["state"] == "queued"
    assert answer["run"]["url"] in response.headers["link"]
    waiting.client.delete(answer["run"]["url"])


def test_a_song_that_fails_answers_with_its_error(door: Door) -> None:
    long = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(LONG), "deadline": 0.3})
    assert (long.status_code, long.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert door.client.post("/v1/graphs/nothing:render", json={"inputs": {}}).status_code == 404
    unknown = door.client.post("/v1/graphs/text2music:render", json={"inputs": dict(SHORT), "output": "video"})
    assert unknown.status_code == 422


def test_a_graph_of_ones_own_runs_where_it_may(strict: Checkpoint, tmp_path: Path) -> None:
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


def test_a_client_that_goes_away_while_it_waits_leaves_the_run(door: Door) -> None:
    body = {"inputs": dict(SHORT) | {"seed": 4242, "steps": 20}, "idempotency_key": "leaver"}
    with pytest.raises(httpx.ReadTimeout):
        door.client.post("/v1/graphs/text2music:render", json=body, timeout=0.05)
    again = door.client.post("/v1/graphs/text2music:render", json=body)
    assert again.status_code == 200


def _json(body: Any) -> bytes:
    import json

    return json.dumps(body).encode()


def test_a_request_that_waits_is_answered_at_the_end_and_others_meanwhile(door: Door) -> None:
    run = door.submit(inputs=dict(LONG) | {"seed": 77})["id"]
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(lambda: door.client.get(f"/v1/runs/{run}", params={"wait": 50}).json())
        door.until(run, "running")
        assert not held.done()
        door.client.delete(f"/v1/runs/{run}")
        assert held.result(30)["state"] == "cancelled"
    again = door.client.get(f"/v1/runs/{run}", params={"wait": 60}).json()
    assert again == held.result()


def test_who_hangs_up_gives_their_place_back(strict: Checkpoint, tmp_path: Path) -> None:
    options = ApiOptions(streams=2, render_seconds=600)
    with opened(tmp_path, strict, options=options, executing=False) as door:
        run = door.submit()["links"]["self"]
        for method, url, body in (
            ("GET", f"{run}?wait=60", None),
            ("POST", "/v1/graphs/text2music:render", {"inputs": dict(SHORT), "timeout": 600}),
        ):
            with pytest.raises(httpx.ReadTimeout):
                httpx.request(method, door.url + url, json=body, timeout=1.0)
        end = time.monotonic() + 20
        while door.client.get("/v1/stats").json()["streams"]:
            assert time.monotonic() < end, "they wait for nobody"
            time.sleep(0.05)
        assert door.client.get("/v1/stats").json()["runs"]["queued"] == 2  # what was accepted is done all the same


def test_a_server_that_takes_no_runs_says_so(strict: Checkpoint, tmp_path: Path) -> None:
    reasons = [""]
    with opened(tmp_path, strict, executing=False, ready=lambda: reasons[0]) as door:
        body = {"graph": "text2music", "inputs": dict(SHORT), "idempotency_key": "k"}
        run = door.client.post("/v1/runs", json=body).json()["id"]
        reasons[0] = "the server is ending"
        for path, asked in (("/v1/runs", body | {"idempotency_key": "l"}), ("/v1/graphs/text2music:render", {})):
            response = door.client.post(path, json=asked | {"inputs": dict(SHORT)})
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            assert "ending" in response.json()["error"]["message"]
        assert door.client.post("/v1/runs", json=body).json()["id"] == run
        assert door.client.get("/v1/stats").json()["runs"]["queued"] == 1


def test_a_request_waits_no_longer_than_it_asks_for(waiting: Door) -> None:
    run = waiting.submit()
    for wait in ({}, {"wait": 0.05}):
        assert waiting.client.get(run["links"]["self"], params=wait).json()["state"] == "queued"
    for wrong in (-1, 61, "soon", "nan"):
        assert waiting.client.get(run["links"]["self"], params={"wait": wrong}).status_code == 422
    waiting.client.delete(run["links"]["self"])


def test_who_waits_where_there_is_no_room_is_answered_at_once(waiting: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    run = waiting.submit()
    monkeypatch.setattr(waiting.app.state.streams, "_most", 0)
    monkeypatch.setattr("acestep_flows.api.http.routes.runs.until_over", None)
    answer = waiting.client.get(run["links"]["self"], params={"wait": 30})
    assert (answer.status_code, answer.json()["state"]) == (200, "queued")
    waiting.client.delete(run["links"]["self"])


def test_who_waits_is_told_of_the_end_and_need_not_look(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    async def only_rung(pace: Pace, ring: asyncio.Event, most: float = 0) -> None:
        await ring.wait()

    monkeypatch.setattr(Pace, "wait", only_rung)
    with Client(door.url) as client:
        for seed in (501, 502):
            ended = client.wait(client.submit("text2music", {**SHORT, "seed": seed}).id, timeout=PATIENCE)
            assert ended.state == "succeeded"
