"""Audio by its address: only what may be asked is asked, once for each redirect, and within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from acestep_flows.api.options import ApiOptions
from acestep_flows.api.service import Service
from acestep_flows.api.store.home import Home
from acestep_flows.compat.fetching import Fetcher
from acestep_flows.compat.files import ReceivedFile
from acestep_flows.errors import InputError
from tests.api.door import sound

PUBLIC = "93.184.215.14"
ADDRESSES = {
    "a.example": [PUBLIC],
    "b.example": ["8.8.8.8"],
    "inside.example": ["10.0.0.1"],
    "both.example": [PUBLIC, "::1"],
}

Answer = Callable[[httpx2.Request], httpx2.Response]


async def resolve(host: str, port: int) -> list[str]:
    if host not in ADDRESSES:
        raise OSError("no such host")
    return ADDRESSES[host]


def fetched(home: Path, url: str, answer: Answer, **options: bool | int) -> ReceivedFile:
    store = Home.open(home)
    try:
        service = Service(store, options=ApiOptions(**options))
        fetcher = Fetcher(service, resolve, httpx2.MockTransport(answer))
        return asyncio.run(fetcher.fetch(url, "audio_url"))
    finally:
        store.close()


def tone(request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, content=sound(0.5))


def test_audio_is_fetched_from_the_address_that_was_checked(tmp_path: Path) -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return tone(request)

    file = fetched(tmp_path, "https://a.example:8443/songs/tone.wav?x=1", answer)
    assert (file.info.kind, file.name, file.info.content_type) == ("audio", "tone.wav", "audio/wav")
    (request,) = asked
    assert (request.url.host, request.url.port, request.headers["host"]) == (PUBLIC, 8443, "a.example:8443")
    assert request.extensions["sni_hostname"] == "a.example"
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.wav",
        "http://localhost/a.wav",
        "http://2130706433/a.wav",
        "http://[::1]/a.wav",
        "http://169.254.169.254/latest",
        "http://inside.example/a.wav",
        "http://both.example/a.wav",
        "http://nowhere.example/a.wav",
        "http://me:secret@a.example/a.wav",
        "ftp://a.example/a.wav",
        "file:///etc/passwd",
        "http://",
    ],
)
def test_other_addresses_are_not_asked(tmp_path: Path, url: str) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError("asked")

    with pytest.raises(InputError) as refused:
        fetched(tmp_path, url, answer)
    assert refused.value.field == "audio_url"


def test_each_redirect_is_checked_anew(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.headers["host"])
        target = {"a.example": "https://b.example/x", "b.example": "http://inside.example/x"}[request.headers["host"]]
        return httpx2.Response(302, headers={"location": target})

    with pytest.raises(InputError, match="private address"):
        fetched(tmp_path, "http://a.example/x", answer)
    assert asked == ["a.example", "b.example"]


@pytest.mark.parametrize(("redirects", "works"), [(3, True), (4, False)])
def test_three_redirects_are_followed(tmp_path: Path, redirects: int, works: bool) -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        left = int(request.url.path.strip("/"))
        return tone(request) if not left else httpx2.Response(307, headers={"location": f"/{left - 1}"})

    if works:
        assert fetched(tmp_path, f"http://a.example/{redirects}", answer).info.kind == "audio"
    else:
        with pytest.raises(InputError, match="redirected too often"):
            fetched(tmp_path, f"http://a.example/{redirects}", answer)


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: httpx2.Response(404),
        lambda request: httpx2.Response(200, content=b"<html>"),
        lambda request: httpx2.Response(200, content=b""),
        lambda request: httpx2.Response(200, content=sound(0.5)[:3000] + b"x" * 70_000),
        lambda request: (_ for _ in ()).throw(httpx2.ConnectError("refused")),
    ],
)
def test_what_is_no_audio_is_refused(tmp_path: Path, answer: Answer) -> None:
    with pytest.raises(InputError):
        fetched(tmp_path, "http://a.example/x", answer, upload_bytes=50_000)


def test_private_addresses_are_asked_where_the_operator_lets(tmp_path: Path) -> None:
    assert fetched(tmp_path, "http://inside.example/a.wav", tone, private_fetches=True).info.kind == "audio"
