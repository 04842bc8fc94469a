"""Forms that arrive in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from acestep_flows.api.http.form_parser import LONGEST_HEADERS, FormParser, FormPart

Part = tuple[str, str | None, bytes]
"""Name, file name and content."""

CONTENT = st.binary(max_size=200) | st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"--", b"-", b"\r\n--", b"\r\n--a", b"x"]), max_size=30
).map(b"".join)
"""Much of it looks like a boundary."""

PARTS = st.lists(st.tuples(st.sampled_from(["file", "\u00fc"]), st.none() | st.just("a b.wav"), CONTENT), max_size=4)


def encode(parts: list[Part]) -> bytes:
    body = b""
    for name, file_name, content in parts:
        disposition = f'form-data; name="{name}"' + ("" if file_name is None else f'; filename="{file_name}"')
        headers = f"Content-Disposition: {disposition}\r\nContent-Type: audio/wav\r\n"
        body += b"--ab\r\n" + headers.encode() + b"\r\n" + content + b"\r\n"
    return body + b"--ab--\r\n"


def read(body: bytes, size: int) -> list[Part]:
    """The parts of a form that arrives in pieces of `size` bytes."""
    parser = FormParser(b"ab")
    parts: list[Part] = []
    for start in range(0, len(body), size):
        for item in parser.feed(body[start : start + size]):
            if isinstance(item, FormPart):
                parts.append((item.name, item.file_name, b""))
            else:
                name, file_name, content = parts[-1]
                parts[-1] = (name, file_name, content + item)
    assert parser.ended
    return parts


@given(PARTS.filter(lambda parts: all(b"\r\n--ab" not in b"\r\n" + part[2] for part in parts)), st.integers(1, 400))
@example([("file", "a.wav", b"")], 1)
def test_parts_are_read_whatever_the_pieces(parts: list[Part], size: int) -> None:
    assert read(encode(parts), size) == parts
    assert read(b"a preamble\r\n" + encode(parts) + b"an epilogue", size) == parts


@given(st.binary(max_size=400), st.integers(1, 50))
def test_no_bytes_break_it(body: bytes, size: int) -> None:
    parser = FormParser(b"ab")
    try:
        for start in range(0, len(body), size):
            list(parser.feed(body[start : start + size]))
    except ValueError:
        return
    assert not parser.ended or b"--ab--" in body


def test_memory_stays_small() -> None:
    parser = FormParser(b"ab")
    list(parser.feed(encode([("file", "a.wav", b"")]).removesuffix(b"\r\n--ab--\r\n")))
    for _ in range(100):
        got = b"".join(item for item in parser.feed(b"\r\n--a" * 1000) if isinstance(item, bytes))
        assert len(got) > 4000
        assert len(parser._buffer) < 10


def test_a_name_may_be_encoded() -> None:
    body = b"--ab\r\nContent-Disposition: form-data; name=file; filename*=UTF-8''%C3%BC.wav\r\n\r\nx\r\n--ab--"
    assert read(body, 7) == [("file", "\u00fc.wav", b"x")]


@pytest.mark.parametrize(
    "body",
    [
        b"--ab\r\n" + b"x" * (LONGEST_HEADERS + 1),
        b"--ab\r\nX: y\r\n\r\n",
        b"--ab\r\nContent-Disposition: form-data\r\n\r\n",
        b"--abc\r\n",
    ],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="header|name|line break"):
        list(FormParser(b"ab").feed(body))
