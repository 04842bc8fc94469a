"""Files of runs over HTTP: outputs, ranges, previews, links."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import soundfile

from acestep_flows.api.store.retention import RetentionPolicy, sweep
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import SHORT, Door, opened, sound

TRICKS = ("../../runs.sqlite", "/etc/passwd", "..", "~", "a/b", "a\\b")


def test_an_output_is_an_input_of_the_next_run(door: Door) -> None:
    first = door.finished()
    latents = first["outputs"]["latents"]["asset"]
    second = door.finished("decode", {"latents": latents})
    assert second["inputs"]["latents"] == {"asset": latents}
    files = [door.client.get(run["outputs"]["audio"]["url"]).content for run in (first, second)]
    first_samples, second_samples = (soundfile.read(io.BytesIO(file))[0] for file in files)
    assert (first_samples == second_samples).all()
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
def test_unknown_outputs_are_not_found(door: Door, name: str) -> None:
    run = door.finished()
    response = door.client.get(f"/v1/runs/{run['id']}/outputs/{name}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("node", [*TRICKS, "%2e%2e/x", "take/../../x", "take\0"])
def test_no_preview_is_found_by_path(door: Door, node: str) -> None:
    run = door.finished()
    response = door.client.get(f"/v1/runs/{run['id']}/previews/{quote(node, safe='').replace('.', '%2E')}")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def test_a_preview_that_is_not_there_says_why(door: Door, waiting: Door) -> None:
    run = door.finished()
    missing = {}
    for node in ("taek", "take"):
        response = door.client.get(f"/v1/runs/{run['id']}/previews/{node}")
        assert response.status_code == 404
        missing[node] = response.json()["error"]
    assert missing["taek"]["message"].startswith("no node 'taek'")
    assert (missing["taek"]["field"], "take" in missing["taek"]["allowed"]) == ("node", True)
    assert missing["take"]["message"] == "no preview of node 'take': the run was submitted without preview_every"
    queued = waiting.submit(preview_every=1)
    response = waiting.client.get(f"/v1/runs/{queued['id']}/previews/take")
    assert response.json()["error"]["message"].endswith("there is none yet, or it was removed; the run is queued")


def links(content: Any) -> Iterator[str]:
    """Every URL of this server in a response."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from links(part)
    elif isinstance(content, str) and content.startswith("/v1/"):
        yield content


def test_every_link_in_a_response_works(door: Door) -> None:
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
            content = response.json()
            pending += links(content.get("runs", [])[:3] if url == "/v1/runs" else content)
    assert seen.keys() >= {f"/v1/runs/{run['id']}{part}" for part in ("", "/events", "/outputs", "/previews/take")}
    assert set(seen.values()) == {200}, {url: status for url, status in seen.items() if status != 200}


def test_outputs_are_listed_and_marked_when_expired(strict: Checkpoint, tmp_path: Path) -> None:
    with opened(tmp_path, strict) as door:
        run = door.finished()
        listed = door.client.get(run["links"]["outputs"]).json()
        assert listed == {"outputs": run["outputs"]}
        assert not any(output["expired"] for output in run["outputs"].values())
        sweep(door.home, RetentionPolicy(files=0), time.time() + 1)
        expired = door.client.get(run["links"]["outputs"]).json()["outputs"]
        assert expired.keys() == run["outputs"].keys()
        for output in expired.values():
            assert output["expired"]
            for method in ("GET", "HEAD"):
                assert door.client.request(method, output["url"]).status_code == 404
        assert door.client.get(f"/v1/runs/run-{'0' * 26}/outputs").status_code == 404
