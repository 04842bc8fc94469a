"""Files in JSON as base64: taken out in whatever pieces they come."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.api.store.artifacts import Upload
from acestep_flows.compat.embedded_files import SHORTEST, EmbeddedFiles
from acestep_flows.errors import InputError, TooLarge

FILE = random.Random(1).randbytes(SHORTEST * 2)
ENCODED = base64.b64encode(FILE).decode()


class Kept:
    """Stands for an upload."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, part: bytes) -> None:
        self.content += part


def read(content: bytes, sizes: list[int], most: int = 1 << 20) -> tuple[Any, dict[str, bytes]]:
    reader = EmbeddedFiles(most, lambda: cast("Upload", Kept()))
    at = 0
    while at < len(content):
        size = sizes.pop() if sizes else len(content)
        reader.feed(content[at : at + size])
        at += size
    files = {marker: cast("Kept", upload).content for marker, upload in reader.finish().items()}
    return json.loads(reader.json), files


@given(st.lists(st.integers(1, 100_000), max_size=40), st.sampled_from(["", "data:audio/wav;base64,"]))
def test_a_file_is_the_same_in_any_pieces(sizes: list[int], prefix: str) -> None:
    body = {"a": [1, 'quote " and \\ in it'], "file": prefix + ENCODED, "after": "né\n"}
    plain, files = read(json.dumps(body).encode(), sizes)
    (marker,) = files
    assert files[marker] == FILE
    assert plain == {**body, "file": marker}


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=200), max_size=8), st.lists(st.integers(1, 30)))
def test_json_without_files_stays_as_it_is(body: dict[str, str], sizes: list[int]) -> None:
    assert read(json.dumps(body).encode(), sizes) == (body, {})
    assert read(json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"), sizes)[1] == {}


def test_slashes_may_be_escaped_and_padding_left_out() -> None:
    for length in (0, 1, 2):
        content = FILE[: len(FILE) - length]
        text = base64.b64encode(content).decode().rstrip("=").replace("/", "\\/")
        plain, files = read(f'{{"file": "{text}"}}'.encode(), [7] * 40_000)
        assert files == {plain["file"]: content}


def test_long_text_that_is_no_file_stays() -> None:
    lyrics = "la la\n" * SHORTEST
    assert read(json.dumps({"lyrics": lyrics}).encode(), [], 1 << 22)[0] == {"lyrics": lyrics}


def test_what_is_left_has_a_limit() -> None:
    with pytest.raises(TooLarge, match="1024"):
        read(json.dumps({"lyrics": "la la " * 1000}).encode(), [], 1024)


@pytest.mark.parametrize("end", [b'!"}', b'A\\n"}', b'=A"}', b"AAAA"])
def test_a_damaged_file_is_refused(end: bytes) -> None:
    with pytest.raises(InputError):
        read(b'{"file": "' + ENCODED.rstrip("=").encode() + end, [100_000, 100_000])


def test_no_client_can_name_a_file_of_another_request(tmp_path: Path) -> None:
    one, other = (read(json.dumps({"file": ENCODED}).encode(), [])[0]["file"] for _ in range(2))
    assert one != other
    assert len(one) > 32
