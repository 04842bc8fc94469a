"""RIFF chunks and INFO strings."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from acestep_flows.audio import riff
from tests.audio.signals import RATE, noise


def wav(frames: int, subtype: str = "PCM_16", channels: int = 1) -> bytes:
    stream = BytesIO()
    soundfile.write(stream, noise(channels, frames).T, RATE, format="WAV", subtype=subtype)
    return stream.getvalue()


@given(frames=st.integers(0, 20), comment=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_info_is_read_back_and_sizes_agree(frames: int, comment: str) -> None:
    content = riff.with_info(wav(frames, "PCM_U8"), {"ICMT": comment, "INAM": "x"})  # one byte a frame: odd sizes too
    assert riff.info(BytesIO(content)) == {"ICMT": comment, "INAM": "x"}
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8
    assert len(content) % 2 == 0
    assert [chunk.name for chunk in riff.chunks(BytesIO(content))][:2] == [b"fmt ", b"data"]
    assert soundfile.info(BytesIO(content)).frames == frames


@pytest.mark.parametrize("frames", [0, 1, 20])
def test_info_of_an_open_file_is_that_of_its_bytes(frames: int) -> None:
    content, strings = wav(frames, "PCM_U8"), {"ICMT": "odd", "INAM": "\u6708"}
    stream = BytesIO(content)
    riff.add_info(stream, strings)
    assert stream.getvalue() == riff.with_info(content, strings)


@given(content=st.binary(max_size=200))
def test_random_bytes_raise_no_error(content: bytes) -> None:
    for start in (b"", b"RIFF\0\0\0\0WAVE", b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\xffINFO", b"FORM\0\0\0\0AIFF"):
        stream = BytesIO(start + content)
        riff.info(stream)
        riff.is_truncated(stream)


@pytest.mark.parametrize("missing", [0, 1, 1_000])
def test_truncated_files_are_detected(missing: int) -> None:
    content = wav(2_000)
    assert riff.is_truncated(BytesIO(content[: len(content) - missing])) == bool(missing)
