"""File responses: whole, a range, not modified, or a range beyond the file."""

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
    ("header", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=0-", 0, 100), ("bytes=10-19", 10, 20), ("bytes=99-", 99, 100), ("bytes=-1", 99, 100),
     ("bytes=-100", 0, 100), ("bytes=-1000", 0, 100), ("bytes=50-1000", 50, 100), ("BYTES=1-2", 1, 3),
     ("bytes= 1 - 2 ", 1, 3), ("bytes=5-" + "9" * 30, 5, 100), ("bytes=-" + "9" * 30, 0, 100),
     ("bytes=" + "0" * 30 + "1-2", 1, 3)],
)  # fmt: skip
def test_a_range_is_answered_with_its_bytes(client: TestClient, header: str, start: int, end: int) -> None:
    answer = client.get("/whole", headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/100"
    assert answer.headers["content-length"] == str(end - start)


@pytest.mark.parametrize("header", ["bytes=-0", "bytes=100-", "bytes=100-200", "bytes=" + "9" * 30 + "-"])
def test_a_range_beyond_the_file_is_refused(client: TestClient, header: str) -> None:
    answer = client.get("/whole", headers={"Range": header})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == "bytes */100"


@pytest.mark.parametrize(
    "header",
    ["bytes=9-5", "bytes=0-1,5-9", "bytes=0-1,", "items=0-1", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=--1",
     "bytes=0x1-2", "bytes=\u0661-2", "bytes=1.5-2", "bytes=0-1-2", "bytes=" + "9" * 5000 + "-", ""],
)  # fmt: skip
def test_other_range_headers_are_ignored(client: TestClient, header: str) -> None:
    answer = client.get("/whole", headers={b"Range": header.encode()})
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(("header", "status"), [(None, 200), ("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-1", 416)])
def test_an_empty_file_has_no_ranges(client: TestClient, header: str | None, status: int) -> None:
    answer = client.get("/empty", headers={} if header is None else {"Range": header})
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers.get("content-range") == ("bytes */0" if status == 416 else None)


@pytest.mark.parametrize("header", ["bytes=0-9", "bytes=100-", "bytes=9-5"])
def test_ranges_are_for_get_only(client: TestClient, header: str) -> None:
    """RFC 9110, 14.2: other methods ignore the header; HEAD returns the size of the whole file."""
    answer = client.head("/whole", headers={"Range": header})
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "100")
    assert answer.headers["accept-ranges"] == "bytes"
    assert "content-range" not in answer.headers


def test_if_range_with_another_tag_returns_the_whole_file(client: TestClient) -> None:
    tag = client.head("/whole").headers["etag"]

    def status_if(condition: str) -> int:
        return client.get("/whole", headers={"Range": "bytes=0-1", "If-Range": condition}).status_code

    assert status_if(tag) == 206
    for other in (f"W/{tag}", "*", '"another"', tag.strip('"'), "Sat, 28 Nov 2026 11:00:00 GMT", ""):
        assert status_if(other) == 200, other


def test_a_known_tag_is_answered_not_modified(client: TestClient) -> None:
    tag = client.head("/whole").headers["etag"]
    for known_tag in (tag, f"W/{tag}", f'"x", {tag}', "*", f'W/"x" , W/{tag}'):
        answer = client.get("/whole", headers={"If-None-Match": known_tag, "Range": "bytes=0-1"})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag), known_tag
    for known_tag in ('"x"', tag.strip('"'), f"w/{tag}", ""):
        assert client.get("/whole", headers={"If-None-Match": known_tag}).status_code == 200, known_tag
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
        expected = content[max(0, size - (last or 0)) :] if last else b""
    elif last is not None and last < first:
        assert part == ByteRange(0, size, partial=False)
        return
    else:
        expected = content[first : size if last is None else last + 1]
    if part is None:
        assert expected == b""
    else:
        assert content[part.start : part.start + part.length] == expected != b""


def test_a_non_ascii_name_has_a_plain_and_an_encoded_form() -> None:
    assert (
        content_disposition("Lied \u00fc.wav")
        == "attachment; filename=\"Lied _.wav\"; filename*=UTF-8''Lied%20%C3%BC.wav"
    )
    assert "\r" not in content_disposition('a"\r\nSet-Cookie: x')


def test_the_file_says_what_it_is(client: TestClient, tmp_path: Path) -> None:
    answer = client.get("/whole")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, CONTENT, "audio/wav")
    assert 'filename="a song.wav"' in answer.headers["content-disposition"]
