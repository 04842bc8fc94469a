"""The account of a caller: who it is, what it used, and sessions of browsers."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from acestep_flows.api.http.keys import Keyring, new_key
from acestep_flows.api.options import ApiOptions
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import SHORT, Door, opened
from tests.api.http.routes.callers import TwoCallers, two_callers

OWN: Mapping[str, str] = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def callers(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoCallers]:
    with two_callers(tmp_path_factory.mktemp("callers"), strict) as callers:
        yield callers


@pytest.fixture
def browser(callers: TwoCallers) -> Iterator[httpx2.Client]:
    """A browser in which alice has signed in."""
    with httpx2.Client(base_url=callers.door.url) as browser:
        answer = browser.post("/v1/session", json={"key": callers.alices_key}, headers=OWN)
        assert answer.status_code == 201, answer.text
        assert answer.json()["name"] == "alice"
        yield browser


def test_usage_is_ones_own(callers: TwoCallers) -> None:
    assert callers.alice.get("/v1/usage").json() == {"usage": []}
    run = callers.door.finished()
    (used,) = callers.alice.get("/v1/usage").json()["usage"]
    assert (used["owner"], used["runs"]) == ("alice", 1)
    assert used["music_seconds"] == pytest.approx(1, abs=0.1)
    assert 0 < used["compute_seconds"] < 60
    assert callers.bob.get("/v1/usage").json() == {"usage": []}
    callers.alice.delete(run["links"]["self"], params={"forget": True})
    assert callers.alice.get("/v1/usage").json()["usage"] == [used]
    today = datetime.datetime.now(datetime.UTC).date()
    later = {"since": str(today + datetime.timedelta(days=1))}
    assert callers.alice.get("/v1/usage", params=later).json() == {"usage": []}
    assert callers.alice.get("/v1/usage", params={"until": str(today)}).json()["usage"] == [used]
    assert callers.nobody.get("/v1/usage").status_code == 401


def test_a_caller_knows_itself(callers: TwoCallers, waiting: Door) -> None:
    me = callers.bob.get("/v1/me").json()
    assert (me["name"], me["requests_per_minute"], me["runs"], me["active_runs"]) == ("bob", 100_000, None, 0)
    assert me["usage"]["runs"] == 0
    assert callers.nobody.get("/v1/me").status_code == 401
    run = waiting.submit()
    anybody = waiting.client.get("/v1/me").json()
    assert (anybody["name"], anybody["requests_per_minute"], anybody["active_runs"]) == (None, None, 1)
    waiting.client.delete(run["links"]["self"])


def test_a_cookie_stands_for_a_key(callers: TwoCallers, browser: httpx2.Client) -> None:
    assert browser.get("/v1/me").json()["name"] == "alice"
    (cookie,) = browser.cookies.jar
    assert cookie.value is not None
    assert callers.alices_key not in cookie.value
    assert (cookie.path, cookie.secure) == ("/", False)
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite", "").lower() == "strict"
    run = browser.post("/v1/runs", json={"graph": "text2music", "inputs": dict(SHORT)}, headers=OWN).json()
    done = callers.door.until(run["id"])
    assert browser.get(done["outputs"]["audio"]["url"]).status_code == 200
    with browser.stream("GET", "/v1/events") as stream:
        assert stream.status_code == 200
    assert callers.bob.get(run["links"]["self"]).status_code == 404


@pytest.mark.parametrize("headers", [
    {}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
    {"Origin": "https://elsewhere.example"}, {"Origin": "null"},
])  # fmt: skip
def test_other_sites_change_nothing_with_a_cookie(browser: httpx2.Client, headers: Mapping[str, str]) -> None:
    for method, path in (("POST", "/v1/runs"), ("DELETE", f"/v1/runs/run-{'0' * 26}"), ("POST", "/v1/assets"),
                         ("PATCH", f"/v1/runs/run-{'0' * 26}")):  # fmt: skip
        assert browser.request(method, path, json={"labels": {}}, headers=headers).status_code == 403


def test_own_pages_are_known_by_their_origin(callers: TwoCallers, browser: httpx2.Client) -> None:
    run = f"/v1/runs/run-{'0' * 26}"
    assert browser.delete(run, headers={"Origin": callers.door.url}).status_code == 404
    assert browser.delete(run, headers=OWN).status_code == 404
    assert browser.delete(run, headers={"X-API-Key": callers.alices_key}).status_code == 404


def test_a_session_ends_on_the_server(callers: TwoCallers, browser: httpx2.Client) -> None:
    stolen = dict(browser.cookies)
    refused = browser.delete("/v1/session", headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403
    assert browser.delete("/v1/session", headers=OWN).status_code == 204
    assert not browser.cookies
    assert httpx2.get(f"{callers.door.url}/v1/me", cookies=stolen).status_code == 401
    assert browser.delete("/v1/session").status_code == 204


def test_wrong_keys_and_other_sites_open_no_session(callers: TwoCallers) -> None:
    post = callers.nobody.post
    assert post("/v1/session", json={"key": "wrong"}).status_code == 401
    assert post("/v1/session", json={"key": ""}).status_code == 401
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}):
        answer = post("/v1/session", json={"key": callers.alices_key}, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert callers.nobody.get("/v1/me", headers={"Cookie": "acestep_flows_session=made up"}).status_code == 401


def test_a_server_without_keys_needs_no_session(waiting: Door) -> None:
    assert waiting.client.post("/v1/session", json={"key": "any"}).status_code == 409
    assert waiting.client.get("/v1/me", headers={"Cookie": "acestep_flows_session=made up"}).status_code == 200


def test_a_revoked_key_ends_its_sessions(strict: Checkpoint, tmp_path: Path) -> None:
    (secret, key), (_, renewed), (_, other) = new_key("alice"), new_key("alice"), new_key("bob")
    with opened(tmp_path, strict, keys=Keyring([key, other]), executing=False) as door:
        door.client.post("/v1/session", json={"key": secret})
        cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in door.client.cookies.items())}
        assert door.client.get("/v1/me").json()["name"] == "alice"
    for keys in (Keyring([other]), Keyring([renewed])):
        with opened(tmp_path, strict, keys=keys, executing=False) as door:
            assert door.client.get("/v1/me", headers=cookie).status_code == 401
    with opened(tmp_path, strict, keys=Keyring([key]), executing=False) as door:
        assert door.client.get("/v1/me", headers=cookie).status_code == 200


def test_a_session_is_charged_as_its_key(strict: Checkpoint, tmp_path: Path) -> None:
    secret, key = new_key("alice")
    keys = Keyring([key.model_copy(update={"requests_per_minute": 2})])
    with opened(tmp_path, strict, keys=keys, executing=False) as door:
        door.client.post("/v1/session", json={"key": secret})
        assert door.client.get("/v1/me").status_code == 200
        assert door.client.get("/v1/me").status_code == 429


def test_behind_a_proxy_the_public_address_counts(strict: Checkpoint, tmp_path: Path) -> None:
    secret, key = new_key("alice")
    options = ApiOptions(public_url="https://music.example.org/songs/")
    with opened(tmp_path, strict, keys=Keyring([key]), options=options, executing=False) as door:
        answer = door.client.post("/songs/v1/session", json={"key": secret})
        cookie = answer.headers["set-cookie"]
        assert "Path=/songs;" in cookie
        assert "Secure" in cookie
        token = {"Cookie": cookie.partition(";")[0]}
        run = {"graph": "text2music", "inputs": dict(SHORT)}
        for origin, status in (("https://music.example.org", 202), ("http://music.example.org", 403),
                               ("https://music.example.org.evil.example", 403)):  # fmt: skip
            assert door.client.post("/v1/runs", json=run, headers=token | {"Origin": origin}).status_code == status
        accepted = door.client.get("/v1/runs", headers=token).json()["runs"][0]
        assert accepted["links"]["self"] == f"/songs/v1/runs/{accepted['id']}"
        assert door.client.get(accepted["links"]["self"], headers=token).status_code == 200


def test_what_a_session_holds_open_ends_with_it(strict: Checkpoint, tmp_path: Path) -> None:
    """Event streams and waiting requests of a browser end when it signs out; those with the key go on."""
    secret, key = new_key("alice")
    with opened(tmp_path, strict, keys=Keyring([key]), headers={"X-API-Key": secret}, executing=False) as door:
        run = door.submit()["links"]["self"]
        opened_session = httpx2.post(f"{door.url}/v1/session", json={"key": secret})
        cookies = dict(opened_session.cookies)

        def follow(path: str) -> float:
            begun = time.monotonic()
            with httpx2.stream("GET", f"{door.url}{path}", cookies=cookies, timeout=20) as stream:
                assert stream.status_code == 200
                for _ in stream.iter_bytes():
                    pass
            return time.monotonic() - begun

        def wait() -> int:
            return httpx2.get(f"{door.url}{run}?wait=15", cookies=cookies, timeout=20).status_code

        with ThreadPoolExecutor(4) as pool, door.client.stream("GET", "/v1/events") as with_key:
            held = [pool.submit(follow, path) for path in ("/v1/events", f"{run}/events")]
            waiting = pool.submit(wait)
            until(lambda: door.client.get("/v1/stats").json()["streams"] == 4)
            assert httpx2.delete(f"{door.url}/v1/session", cookies=cookies).status_code == 204
            assert max(stream.result(5) for stream in held) < 10
            assert waiting.result(5) == 401
            assert with_key.status_code == 200
            until(lambda: door.client.get("/v1/stats").json()["streams"] == 1)


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)
