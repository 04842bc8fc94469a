"""fal's own SDK, unmodified, against a server behind a proxy that ends TLS, as it builds https addresses only."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.door import Door
from tests.compat.fal.sdk import sdk
from tests.compat.receiver import Receiver, receiver
from tests.compat.sdks import closing
from tests.compat.songs import KEYS, root_of
from tests.compat.tls import Proxy, tls_proxy

pytest.importorskip("fal_client")

APP = "fal-ai/ace-step"
SONG = {"tags": "lofi, piano", "duration": 5, "number_of_steps": 3, "seed": 7}
LONG = {"tags": "lofi", "duration": 60, "number_of_steps": 60, "scheduler": "heun"}


@pytest.fixture(scope="module")
def proxy(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with tls_proxy(door.url, tmp_path_factory.mktemp("tls")) as one:
        yield one


@pytest.fixture
def fal(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Any:
    return sdk(proxy, monkeypatch)


@pytest.fixture
def keep() -> Iterator[Any]:
    with closing() as keep:
        yield keep


@pytest.fixture
def client(fal: Any, keep: Any) -> Any:
    return keep(fal.SyncClient(key="none"))


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as one:
        yield one


@pytest.fixture
def fetch(proxy: Proxy) -> Callable[[str], httpx2.Response]:
    context = ssl.create_default_context(cafile=str(proxy.certificate))
    return lambda url: httpx2.get(url, verify=context)


def test_subscribe_returns_the_song(fal: Any, client: Any, fetch: Any) -> None:
    seen: list[Any] = []
    result = client.subscribe(
        APP, arguments={**SONG, "guidance_scale": 15}, with_logs=True, on_queue_update=seen.append
    )
    assert (result["seed"], result["tags"], result["lyrics"]) == (7, "lofi, piano", "")
    audio = result["audio"]
    assert audio["url"].startswith("https://localhost:")
    content = fetch(audio["url"]).content
    assert content.startswith(b"RIFF")
    assert (audio["content_type"], audio["file_size"]) == ("audio/wav", len(content))
    assert [line for line in result["warnings"] if line.startswith("guidance_scale=15")]
    assert isinstance(seen[-1], fal.Completed)
    assert [entry for entry in seen[-1].logs if entry["message"].startswith("guidance_scale=15")]
    assert seen[-1].metrics["inference_time"] > 0


def test_run_waits_for_the_song(client: Any) -> None:
    result = client.run(APP, arguments={"prompt": "lofi", "instrumental": True, **length(5)}, path="/prompt-to-audio")
    assert (result["tags"], result["lyrics"]) == ("lofi", "[inst]")


def length(seconds: float) -> dict[str, Any]:
    return {"duration": seconds, "number_of_steps": 3}


@pytest.mark.parametrize(
    ("app", "arguments", "graph"),
    [
        ("audio-to-audio", {"edit_mode": "remix", "original_tags": "lofi", "tags": "jazz"}, "remix"),
        ("audio-to-audio", {"edit_mode": "lyrics", "original_tags": "a", "tags": "a", "lyrics": "la"}, "edit-lyrics"),
        ("audio-inpaint", {"tags": "jazz", "start_time": 0.5, "end_time": 1.5}, "repaint"),
        ("audio-outpaint", {"tags": "jazz", "extend_after_duration": 1}, "extend"),
    ],
)
def test_audio_is_edited(
    fal: Any, client: Any, door: Door, tone: Path, app: str, arguments: dict[str, Any], graph: str
) -> None:
    source = fal.encode(tone.read_bytes(), "audio/wav")
    handle = client.submit(f"{APP}/{app}", arguments={"audio_url": source, "number_of_steps": 3, **arguments})
    result = handle.get()
    assert result["tags"] == arguments["tags"]
    assert door.client.get(f"/v1/runs/{handle.request_id}").json()["graph"] == graph


def test_a_request_is_cancelled(fal: Any, client: Any) -> None:
    first, second, third = (client.submit(APP, arguments=LONG, priority=one) for one in ("normal", "low", "low"))
    position = third.status()
    assert not isinstance(position, fal.Queued) or position.position >= 0
    for handle in (third, second, first):
        handle.cancel()
    for handle in (first, second, third):
        events = list(handle.iter_events(with_logs=True))
        assert isinstance(events[-1], fal.Completed)
        with pytest.raises(fal.FalClientHTTPError) as failed:
            handle.get()
        assert failed.value.status_code == 499
        with pytest.raises(Exception, match="ALREADY_COMPLETED"):
            handle.cancel()


def test_the_places_in_the_queue(door: Door) -> None:
    """Two runs at a time are made; the others wait for their turn."""
    root = f"{root_of(door, 'fal')}/queue/{APP}"
    accepted = [door.client.post(root, json=LONG).json() for _ in range(4)]
    try:
        told = door.client.get(accepted[-1]["status_url"])
        assert (told.status_code, told.json()["status"]) == (202, "IN_QUEUE")
        assert told.json()["queue_position"] >= 1
        early = door.client.get(accepted[-1]["response_url"])
        assert (early.status_code, early.json()["detail"]) == (400, "Request is still in progress")
        door.until(accepted[0]["request_id"], "running")
        running = door.client.get(accepted[0]["status_url"], params={"logs": "1"})
        assert (running.status_code, running.json()["status"]) == (202, "IN_PROGRESS")
        assert "%" in running.json()["logs"][-1]["message"]
    finally:
        for one in accepted:
            assert door.client.put(one["cancel_url"]).status_code == 202
            door.until(one["request_id"])
    again = door.client.put(accepted[0]["cancel_url"])
    assert (again.status_code, again.json()) == (400, {"status": "ALREADY_COMPLETED"})
    ended = door.client.get(accepted[0]["status_url"]).json()
    assert (ended["status"], ended["error_type"]) == ("COMPLETED", "client_cancelled")


@pytest.mark.parametrize(
    ("headers", "begin"),
    [
        ({}, "http://127.0.0.1:"),
        ({"Host": "localhost:8443"}, "https://localhost:8443/compat/fal/queue/"),
        ({"Host": "localhost"}, "https://localhost/"),
        ({"Host": "localhost:8443", "X-Forwarded-Proto": "http"}, "http://localhost:8443/"),
    ],
)
def test_addresses_are_those_of_the_proxy(door: Door, headers: dict[str, str], begin: str) -> None:
    accepted = door.client.post(f"{root_of(door, 'fal')}/queue/{APP}", json=LONG, headers=headers).json()
    door.client.delete(f"/v1/runs/{accepted['request_id']}")
    for name in ("response_url", "status_url", "cancel_url"):
        assert accepted[name].startswith(begin)


def test_the_status_is_streamed(door: Door) -> None:
    accepted = door.client.post(f"{root_of(door, 'fal')}/queue/{APP}", json={**SONG, "seed": 9}).json()
    with door.client.stream("GET", f"{accepted['status_url']}/stream?logs=1") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
    assert [event["status"] for event in events][-1] == "COMPLETED"
    assert all("logs" in event for event in events)


def test_options_stand_in_headers(client: Any, door: Door) -> None:
    handle = client.submit(APP, arguments=LONG, priority="low", start_timeout=900)
    run = door.client.get(f"/v1/runs/{handle.request_id}").json()
    handle.cancel()
    assert run["priority"] == -5
    assert run["deadline_at"] is not None
    wrong = door.client.post(f"{root_of(door, 'fal')}/queue/{APP}", json=SONG, headers={"X-Fal-Queue-Priority": "top"})
    assert (wrong.status_code, wrong.json()["detail"][0]["loc"]) == (422, ["body", "X-Fal-Queue-Priority"])


def test_a_webhook_has_the_result(client: Any, hook: Receiver, fetch: Any) -> None:
    handle = client.submit(APP, arguments={**SONG, "seed": 11}, webhook_url=hook.url)
    headers, body, _ = hook.first("OK")
    assert (body["request_id"], body["payload"]["seed"]) == (handle.request_id, 11)
    assert headers["webhook-signature"].startswith("v1,")
    assert fetch(body["payload"]["audio"]["url"]).content.startswith(b"RIFF")
    cancelled = client.submit(APP, arguments=LONG, webhook_url=hook.url)
    cancelled.cancel()
    _, body, _ = hook.first("ERROR")
    assert body["payload"]["error_type"] == "client_cancelled"


def test_a_refusal_names_its_field(fal: Any, client: Any, door: Door) -> None:
    with pytest.raises(fal.FalClientHTTPError) as refused:
        client.submit(APP, arguments={**SONG, "number_of_steps": 99})
    assert refused.value.status_code == 422
    root = f"{root_of(door, 'fal')}/queue/{APP}"
    detail = door.client.post(root, json={"duration": 1}).json()["detail"]
    assert [fault["loc"] for fault in detail] == [["body", "tags"], ["body", "duration"]]
    assert detail[0]["type"] == "missing"
    wrong = door.client.post(f"{root}?fal_webhook=ftp://a", json=SONG).json()["detail"]
    assert wrong[0]["loc"] == ["body", "fal_webhook"]
    assert door.client.post(f"{root}/lipsync", json=SONG).status_code == 404
    unknown = door.client.get(f"{root}/requests/run-{'0' * 26}/status")
    assert (unknown.status_code, unknown.headers["X-Fal-Error-Type"]) == (404, "not_found")
    nothing = door.client.put(f"{root}/requests/none/cancel")
    assert (nothing.status_code, nothing.json()) == (404, {"status": "NOT_FOUND"})


def test_callers_see_their_own_alone(keyed: Door, keep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tls_proxy(keyed.url, tmp_path) as proxy:
        fal = sdk(proxy, monkeypatch)
        alice, bob = (keep(fal.SyncClient(key=key)) for key in KEYS.values())
        handle = alice.submit(APP, arguments=SONG)
        result = handle.get()
        for ask in (bob.status, bob.result):
            with pytest.raises(fal.FalClientHTTPError) as refused:
                ask(APP, handle.request_id)
            assert refused.value.status_code == 404
        source = {"audio_url": result["audio"]["url"].partition("?")[0], "tags": "jazz"}
        with pytest.raises(fal.FalClientHTTPError) as refused:
            bob.submit(f"{APP}/audio-outpaint", arguments=source)
        assert refused.value.status_code == 404
        with pytest.raises(fal.FalClientHTTPError) as refused:
            keep(fal.SyncClient(key="wrong")).submit(APP, arguments=SONG)
        assert refused.value.status_code == 401
    plain = result["audio"]["url"].replace(f"https://{proxy.host}", keyed.url)
    assert httpx2.get(plain).content.startswith(b"RIFF")
    assert httpx2.get(plain.partition("?")[0]).status_code == 401
