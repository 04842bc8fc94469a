"""Files cut at any byte, and files with wrong bytes in their headers: read to their end, or refused in one line."""

from __future__ import annotations

import logging
import os
import time
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from acestep_flows.audio import read
from acestep_flows.audio.containers import riff_wave
from acestep_flows.errors import InputError
from acestep_flows.values import Audio
from tests.audio.files import ENDLESS, FORMATS, encoded, id3
from tests.audio.signals import noise

log = logging.getLogger(__name__)

RATE = 22_050
SECONDS = 1.5
MUTATIONS = int(os.environ.get("MUTATED_HEADERS", "3000"))
LONGEST = 2.0
"""Seconds that one file may take. The processor time of decoding is bound to 1.5 s."""


def tones() -> np.ndarray:
    time_axis = np.arange(round(SECONDS * RATE)) / RATE
    return np.array([0.3 * np.sin(2 * np.pi * hertz * time_axis) for hertz in (330, 550)], np.float32)


@cache
def whole(container: str, subtype: str) -> bytes:
    return encoded(tones(), container, subtype, 24_000 if subtype == "OPUS" else RATE)


@cache
def length(container: str, subtype: str) -> float:
    return read.audio(whole(container, subtype)).seconds


def outcome(content: bytes) -> Audio | str:
    """The audio, or the words of the refusal."""
    try:
        audio = read.audio(content)
    except InputError as error:
        return str(error)
    assert audio.samples.size > 0
    return audio


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@given(share=st.floats(0, 1, exclude_max=True))
@example(share=0.999)
@example(share=0.98)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cut_file_is_read_or_refused(container: str, subtype: str, share: float) -> None:
    content = whole(container, subtype)
    size = int(share * len(content))
    audio = outcome(content[:size])
    if isinstance(audio, Audio):
        assert audio.seconds == pytest.approx(length(container, subtype), abs=0.0501), f"cut at byte {size}"
    else:
        assert "\n" not in audio


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_a_file_cut_in_the_middle_says_so(container: str, subtype: str) -> None:
    content = whole(container, subtype)
    with pytest.raises(InputError, match=r"truncated after|ends in its header"):
        read.audio(content[: len(content) // 2])


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_whatever_stands_around_a_file_is_left_out(container: str, subtype: str) -> None:
    content = whole(container, subtype)
    before = id3(3_000) if container in ("MP3", "FLAC", "OGG") else b""
    audio = read.audio(before + content)
    assert audio == read.audio(content)
    if container in ("MP3", "FLAC"):
        assert read.audio(content + b"TAG" + bytes(125)) == audio


def mutated(random: np.random.Generator) -> bytes:
    """A file with a few bytes of its first 200 changed, most often to values that sizes go wrong by."""
    if random.random() < 0.05:
        content = bytearray(ENDLESS)
    else:
        content = bytearray(whole(*FORMATS[random.integers(len(FORMATS))]))
    for _ in range(random.integers(1, 5)):
        position = int(random.integers(min(200, len(content))))
        kind = random.integers(4)
        if kind == 0:
            content[position] = int(random.integers(256))
        elif kind == 1:
            content[position] ^= 1 << int(random.integers(8))
        elif kind == 2:
            content[position : position + 4] = bytes([int(random.choice([0, 0x7F, 0xFF]))] * 4)
        else:
            del content[position : position + int(random.integers(1, 9))]
    return bytes(content)


def test_mutated_headers_never_hang_and_raise_nothing_else() -> None:
    random, slowest, refused = np.random.default_rng(21), 0.0, 0
    for _ in range(MUTATIONS):
        content = mutated(random)
        began, processor = time.monotonic(), time.process_time()
        audio = outcome(content)
        slowest = max(slowest, time.monotonic() - began)
        assert time.process_time() - processor < LONGEST
        if isinstance(audio, str):
            refused += 1
            assert "\n" not in audio
    log.info("%d files, %d refused, slowest %.2f s", MUTATIONS, refused, slowest)
    assert 0 < refused < MUTATIONS


STARTS = (b"RIFF____WAVE", b"RF64____WAVEds64", b"FORM____AIFF", b"FORM____AIFC", b"caff\0\1\0\0", b"fLaC", b"OggS",
          b"ID3\4\0\0", b"\xff\xfb\x90\x64", riff_wave.WAVE64)  # fmt: skip


@pytest.mark.parametrize("start", STARTS)
@given(rest=st.binary(max_size=400))
@settings(max_examples=40, deadline=None)
def test_a_known_start_with_anything_behind(start: bytes, rest: bytes) -> None:
    assert "\n" not in str(outcome(start + rest))


def test_large_files_of_nothing_are_refused_quickly() -> None:
    for filling in (b"\xff", b"\xff\xfb", b"\0", b"OggS", b"ID3", b"\xff\xfb\x90\x64"):
        began = time.process_time()
        with pytest.raises(InputError):
            read.audio((filling * (5_000_000 // len(filling)))[:5_000_000])
        assert time.process_time() - began < LONGEST, filling


def test_noise_of_any_kind_is_no_audio() -> None:
    content = (noise(1, 200_000, level=1.0) * 127).astype(np.int8).tobytes()
    with pytest.raises(InputError, match="not readable as audio"):
        read.audio(content)
