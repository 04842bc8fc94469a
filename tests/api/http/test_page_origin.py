"""Pages of other sites change nothing, on any route, whether the server has keys or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acestep_flows.api.http.page_origin import SAFE_METHODS
from acestep_flows.api.options import ApiOptions
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import SHORT, Door, opened, sound
from tests.api.http.routes.callers import TwoCallers, two_callers

FOREIGN: list[Mapping[str, str]] = [
    {"Origin": "https://elsewhere.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example", "Sec-Fetch-Mode": "no-cors"},
]


def changing_routes(door: Door) -> Iterator[tuple[str, str]]:
    """Method and path of every operation that is not safe."""
    document: Mapping[str, Any] = door.client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method in operations:
            if method.upper() not in SAFE_METHODS:
                yield method.upper(), path.replace("{", "").replace("}", "")


@pytest.fixture(scope="module")
def callers(strict: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoCallers]:
    with two_callers(tmp_path_factory.mktemp("pages"), strict, executing=False) as callers:
        yield callers


def refused(answer: httpx2.Response) -> bool:
    return answer.status_code == 403 and "a page of another site" in answer.json()["error"]["message"]


def test_no_route_takes_a_change_from_a_foreign_page(waiting: Door, callers: TwoCallers) -> None:
    for door in (waiting, callers.door):
        routes = list(changing_routes(door))
        assert len(routes) > 10
        for method, path in routes:
            for headers in FOREIGN:
                answer = door.client.request(method, path, headers=headers, content=b"{}")
                assert refused(answer), (method, path, headers, answer.text)
            assert not refused(door.client.request(method, path, content=b"{}")), (method, path)


def test_a_foreign_form_or_text_leaves_nothing(waiting: Door) -> None:
    """What a page may send without a preflight: nothing is stored, not even for a while."""
    before = waiting.client.get("/v1/assets").json()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        headers = {"Origin": "https://elsewhere.example", "Content-Type": kind}
        assert refused(waiting.client.post("/v1/assets", content=sound(), headers=headers))
        assert refused(waiting.client.post("/v1/runs", content=b"{}", headers=headers))
    assert waiting.client.get("/v1/assets").json() == before
    assert not list((waiting.home.root / "artifacts" / "unfinished").iterdir())


def test_programs_and_own_pages_change_things(waiting: Door) -> None:
    by_name = waiting.url.replace("127.0.0.1", "localhost")
    for headers in ({}, {"Origin": waiting.url}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"},
                    {"Origin": by_name, "Host": by_name.removeprefix("http://")}):  # fmt: skip
        answer = waiting.client.post("/v1/assets", content=sound(0.1), headers=headers)
        assert answer.status_code == 201, (headers, answer.text)


def test_foreign_pages_may_ask_what_changes_nothing(waiting: Door) -> None:
    for headers in FOREIGN:
        assert waiting.client.get("/v1/runs", headers=headers).status_code == 200


def test_named_origins_may_call(strict: Checkpoint, tmp_path: Path) -> None:
    body = {"graph": "text2music", "inputs": dict(SHORT)}
    studio = {"Origin": "https://studio.example.org", "Sec-Fetch-Site": "cross-site"}
    other = {"Origin": "https://studio.example.org.evil.example", "Sec-Fetch-Site": "cross-site"}
    options = ApiOptions(origins=("https://Studio.example.org/",), public_url="https://music.example.org/songs")
    with opened(tmp_path / "named", strict, options=options, executing=False) as door:
        assert door.client.post("/v1/runs", json=body, headers=studio).status_code == 202
        assert door.client.post("/songs/v1/runs", json=body, headers=studio).status_code == 202
        assert refused(door.client.post("/songs/v1/runs", json=body, headers=other))
        for origin, allowed in (("https://music.example.org", True), ("http://music.example.org", False)):
            answer = door.client.post("/songs/v1/runs", json=body, headers={"Origin": origin})
            assert (answer.status_code == 202) is allowed
            assert refused(answer) is not allowed
    with opened(tmp_path / "all", strict, options=ApiOptions(origins=("*",)), executing=False) as door:
        assert door.client.post("/v1/runs", json=body, headers=other).status_code == 202
