"""What the server does to requests of every family before the family sees them, and counts of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from acestep_flows.api.options import ApiOptions
from acestep_flows.compat.embedded_files import SHORTEST
from acestep_flows.compat.spoken import families
from acestep_flows.model.checkpoint import Checkpoint
from tests.api.door import Door, opened
from tests.compat.songs import root_of

PAGE = "https://a.example"
ROUTES = {
    "v1": "generate",
    "acestep15": "release_task",
    "replicate": "v1/predictions",
    "fal": "queue/fal-ai/ace-step",
}
"""A route with a body, of families whose errors have `detail`."""


@pytest.fixture(scope="module")
def small(nano: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server that lets the pages of one site call, and takes small bodies only."""
    options = ApiOptions(speak=families(), origins=(PAGE,), body_bytes=100_000, upload_bytes=400_000)
    with opened(tmp_path_factory.mktemp("small"), nano, options=options, executing=False) as door:
        yield door


@pytest.mark.parametrize("family", families())
def test_a_page_may_ask_for_what_clients_send(small: Door, family: str) -> None:
    headers = ("authorization", "prefer", "x-fal-queue-priority", "x-fal-request-timeout", "x-fal-runner-hint")
    answer = small.client.options(
        f"{root_of(small, family)}/anything",
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": "PUT",
            "Access-Control-Request-Headers": ", ".join(headers),
        },
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "PUT" in answer.headers["access-control-allow-methods"]
    assert set(headers) <= {name.strip() for name in answer.headers["access-control-allow-headers"].lower().split(",")}


def test_the_answer_of_a_family_may_be_read_by_the_page(small: Door) -> None:
    answer = small.client.get(f"{root_of(small, 'v1')}/health", headers={"Origin": PAGE})
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "X-Fal-Request-Id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("family", ROUTES)
@pytest.mark.parametrize(
    ("headers", "size", "status"),
    [
        ({"Host": "elsewhere.example"}, 2, {"acestep15": 400}),
        ({"Origin": "https://other.example"}, 2, 403),
        ({}, 700_000, 413),
    ],
)
def test_the_server_refuses_in_the_words_of_the_family(
    small: Door, family: str, headers: dict[str, str], size: int, status: Any
) -> None:
    answer = small.client.post(
        f"{root_of(small, family)}/{ROUTES[family]}", content=b"{" + b" " * (size - 2) + b"}", headers=headers
    )
    assert answer.status_code == (status.get(family, 422) if isinstance(status, dict) else status)
    assert answer.json()["detail"]
    assert "node" not in answer.text


@pytest.mark.parametrize("family", ROUTES)
def test_a_body_that_grows_too_large_is_refused_likewise(small: Door, family: str) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(13):
            yield b" " * 50_000

    answer = small.client.post(f"{root_of(small, family)}/{ROUTES[family]}", content=pieces())
    assert answer.status_code == 413
    assert answer.json()["detail"]


@pytest.mark.parametrize("family", ROUTES)
@pytest.mark.parametrize("value", [b"NaN", b"1e999", b'"\\ud800"'])
def test_a_value_that_no_answer_could_have_is_refused(small: Door, family: str, value: bytes) -> None:
    body = b'{"seed": %b, "duration": %b}' % (value, value)
    answer = small.client.post(f"{root_of(small, family)}/{ROUTES[family]}", content=body)
    assert answer.status_code in (400, 422)
    assert "not JSON" in str(answer.json()["detail"])


def test_our_own_interface_keeps_its_form(small: Door) -> None:
    for path in ("/v1/runs", "/compatible"):
        answer = small.client.post(path, content=b"{}", headers={"Host": "elsewhere.example"})
        assert answer.json()["error"]["field"] == "Host"


@pytest.mark.parametrize("damage", ["!", "=A", "AAA=AAAA"])
@pytest.mark.parametrize("before", ['"prompt": "x", "src_audio": "', '"files": {"src_audio" : [ "data:a/b;base64,'])
def test_damaged_base64_is_told_by_its_name(small: Door, before: str, damage: str) -> None:
    text = base64.b64encode(bytes(4 * SHORTEST)).decode().rstrip("=") + damage
    end = '"}' if "[" not in before else '"]}}'
    answer = small.client.post(f"{root_of(small, 'v1')}/generate", content=f"{{{before}{text}{end}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "src_audio"]


def test_long_base64_that_is_no_audio_is_told_by_its_name(small: Door) -> None:
    text = base64.b64encode(bytes(SHORTEST)).decode()
    answer = small.client.post(f"{root_of(small, 'acestep15')}/release_task", json={"src_audio": text})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("src_audio: ")


def test_requests_of_a_family_are_counted_as_its_own(small: Door) -> None:
    small.client.get(f"{root_of(small, 'v1')}/health")
    small.client.post(f"{root_of(small, 'v1')}/generate", json={})
    small.client.get(f"{root_of(small, 'v1')}/nothing")
    page = small.client.get("/metrics").text
    assert 'route="/compat/v1/health",status="200"' in page
    assert 'route="/compat/v1/generate",status="422"' in page
    assert 'route="/health"' not in page
    refused = [line for line in page.splitlines() if 'code="invalid_input"' in line and 'status="422"' in line]
    assert refused
    small.client.get("/v1/graphs/text2music")
    assert 'route="/v1/graphs/{name}"' in small.client.get("/metrics").text
