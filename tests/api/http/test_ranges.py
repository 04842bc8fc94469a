"""Files as answers: whole, a range, nothing new, or a range that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.testclient import TestClient

from acestep_flows.api.http.ranges import ByteRange, content_disposition, file_response, parse_range
from tests.api.toys import opened

CONTENT = bytes(range(100))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server of two files: /whole of 100 bytes and /empty."""
    app = FastAPI()
    with opened(tmp_path_factory.mktemp("home")) as home:
        blobs = {"whole": home.artifacts.put(CONTENT), "empty": home.artifacts.put(b"")}

        @app.api_route("/{name}", methods=["GET", "HEAD"])
        async def fetch(name: str, request: Request) -> Response:
            blob = blobs[name]
            return await file_response(
                request,
                home.artifacts,
                digest=blob.digest,
                size=blob.bytes,
                content_type="audio/wav",
                file_name="a song.wav",
            )

        with TestClient(app) as client:
            yield client


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=0-", 0, 100), ("bytes=10-19", 10, 20), ("bytes=99-", 99, 100), ("bytes=-1", 99, 100),
     ("bytes=-100", 0, 100), ("bytes=-1000", 0, 100), ("bytes=50-1000", 50, 100), ("BYTES=1-2", 1, 3),
     ("bytes= 1 - 2 ", 1, 3), ("bytes=5-" + "9" * 30, 5, 100), ("bytes=-" + "9" * 30, 0, 100),
     ("bytes=" + "0" * 30 + "1-2", 1, 3)],
)  # fmt: skip
def test_a_range_is_answered_with_its_bytes(client: TestClient, asked: str, start: int, end: int) -> None:
    answer = client.get("/whole", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/100"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=-0", "bytes=100-", "bytes=100-200", "bytes=" + "9" * 30 + "-"])
def test_a_range_that_is_not_there(client: TestClient, asked: str) -> None:
    answer = client.get("/whole", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == "bytes */100"


@pytest.mark.parametrize(
    "asked",
    ["bytes=9-5", "bytes=0-1,5-9", "bytes=0-1,", "items=0-1", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=--1",
     "bytes=0x1-2", "bytes=\u0661-2", "bytes=1.5-2", "bytes=0-1-2", "bytes=" + "9" * 5000 + "-", ""],
)  # fmt: skip
def test_what_is_no_single_range_of_bytes_is_passed_over(client: TestClient, asked: str) -> None:
    answer = client.get("/whole", headers={b"Range": asked.encode()})
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(("asked", "status"), [(None, 200), ("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-1", 416)])
def test_an_empty_file_has_no_ranges(client: TestClient, asked: str | None, status: int) -> None:
    answer = client.get("/empty", headers={} if asked is None else {"Range": asked})
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers.get("content-range") == ("bytes */0" if status == 416 else None)


@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=100-", "bytes=9-5"])
def test_ranges_are_for_get_only(client: TestClient, asked: str) -> None:
    """RFC 9110, 14.2: with other methods the header is ignored; HEAD tells the size of the whole."""
    answer = client.head("/whole", headers={"Range": asked})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "100")
    assert answer.headers["accept-ranges"] == "bytes"
    assert "content-range" not in answer.headers


def test_a_range_of_what_was_there_before(client: TestClient) -> None:
    tag = client.head("/whole").headers["etag"]

    def asked_if(given: str) -> int:
        return client.get("/whole", headers={"Range": "bytes=0-1", "If-Range": given}).status_code

    assert asked_if(tag) == 206
    for other in (f"W/{tag}", "*", '"another"', tag.strip('"'), "Sat, 28 Nov 2026 11:00:00 GMT", ""):
        assert asked_if(other) == 200, other


def test_what_the_client_has_is_not_sent_again(client: TestClient) -> None:
    tag = client.head("/whole").headers["etag"]
    for had in (tag, f"W/{tag}", f'"x", {tag}', "*", f'W/"x" , W/{tag}'):
        answer = client.get("/whole", headers={"If-None-Match": had, "Range": "bytes=0-1"})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag), had
    for had in ('"x"', tag.strip('"'), f"w/{tag}", ""):
        assert client.get("/whole", headers={"If-None-Match": had}).status_code == 200, had
    assert client.head("/whole", headers={"If-None-Match": tag}).status_code == 304


@given(size=st.integers(0, 50), first=st.none() | st.integers(0, 60), last=st.none() | st.integers(0, 60))
def test_a_part_lies_within_its_file(size: int, first: int | None, last: int | None) -> None:
    text = [str(part) if part is not None else "" for part in (first, last)]
    part = parse_range(f"bytes={text[0]}-{text[1]}", size)
    content = bytes(range(size))
    if first is None and last is None:
        assert part == ByteRange(0, size, partial=False)
        return
    if first is None:
        wanted = content[max(0, size - (last or 0)) :] if last else b""
    elif last is not None and last < first:
        assert part == ByteRange(0, size, partial=False)
        return
    else:
        wanted = content[first : size if last is None else last + 1]
    if part is None:
        assert wanted == b""
    else:
        assert content[part.start : part.start + part.length] == wanted != b""


def test_a_name_that_is_not_ascii_is_told_in_both_ways() -> None:
    assert (
        content_disposition("Lied \u00fc.wav")
        == "attachment; filename=\"Lied _.wav\"; filename*=UTF-8''Lied%20%C3%BC.wav"
    )
    assert "\r" not in content_disposition('a"\r\nSet-Cookie: x')


def test_the_file_says_what_it_is(client: TestClient, tmp_path: Path) -> None:
    answer = client.get("/whole")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, CONTENT, "audio/wav")
    assert 'filename="a song.wav"' in answer.headers["content-disposition"]
