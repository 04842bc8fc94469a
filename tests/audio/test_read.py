"""Reading of audio files: every format, and a one-line error for every bad file."""

from __future__ import annotations

import os
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from acestep_flows.audio import read
from acestep_flows.errors import InputError
from acestep_flows.values import FloatArray
from tests.audio.signals import RATE, noise

FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("WAVEX", "PCM_24"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("AIFF", "PCM_16"),
    ("CAF", "PCM_16"),
]


def encoded(samples: FloatArray, container: str = "WAV", subtype: str = "PCM_16", rate: int = RATE) -> bytes:
    stream = BytesIO()
    soundfile.write(stream, samples.T, rate, format=container, subtype=subtype)
    return stream.getvalue()


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_every_readable_format_is_read(container: str, subtype: str) -> None:
    samples = noise(2, RATE)
    audio = read.audio(encoded(samples, container, subtype))
    assert (audio.samples.shape, audio.sample_rate) == (samples.shape, RATE)
    assert 0.5 < np.std(audio.samples) / np.std(samples) < 1.5


def test_a_path_and_its_bytes_give_the_same_audio(tmp_path: Path) -> None:
    content = encoded(noise(2, 1_000))
    path = tmp_path / "song.wav"
    path.write_bytes(content)
    assert read.audio(path) == read.audio(str(path)) == read.audio(content)


@pytest.mark.parametrize(("channels", "rate"), [(1, 48_000), (2, 8_000), (1, 192_000)])
def test_channels_and_rate_are_unchanged(channels: int, rate: int) -> None:
    samples = noise(channels, 5_000)
    audio = read.audio(encoded(samples, rate=rate))
    assert audio.sample_rate == rate
    np.testing.assert_allclose(audio.samples, samples, atol=2**-15)


def test_silence_and_a_single_sample_are_read() -> None:
    assert not read.audio(encoded(np.zeros((2, 1_000), np.float32))).samples.any()
    assert read.audio(encoded(noise(1, 1))).samples.shape == (1, 1)


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.05])
def test_a_truncated_file_is_refused(container: str, subtype: str, share: float) -> None:
    content = encoded(noise(2, 5 * RATE), container, subtype)
    with pytest.raises(InputError, match=r"take one: (truncated after|not readable as audio)"):
        read.audio(content[: int(share * len(content))], name="take one")


def test_the_error_says_where_a_truncated_file_ends() -> None:
    with pytest.raises(
        InputError, match=r"^audio: truncated after 0\.50 s; 0\.50 s are missing \(allowed: a complete file\)$"
    ):
        read.audio(encoded(noise(2, RATE))[: -RATE * 2])


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF])
def test_a_streamed_wav_without_a_size_is_not_truncated(size: int) -> None:
    content = bytearray(encoded(noise(2, RATE)))
    struct.pack_into("<I", content, 40, size)
    assert read.audio(bytes(content)).samples.shape == (2, RATE)


def test_a_wav_that_wrongly_declares_ten_hours_is_truncated() -> None:
    content = bytearray(encoded(noise(2, 480)))
    struct.pack_into("<I", content, 40, 44_100 * 36_000)
    with pytest.raises(InputError, match="truncated after"):
        read.audio(bytes(content))


def test_a_flac_that_declares_ten_hours_is_refused() -> None:
    content = bytearray(encoded(noise(2, RATE), "FLAC"))
    packed = int.from_bytes(content[18:26], "big")  # rate, channels, bits; then 36 bits of length
    content[18:26] = (packed >> 36 << 36 | RATE * 36_000).to_bytes(8, "big")
    with pytest.raises(InputError, match=r"audio: 36000 s long \(allowed: up to 3600 s\)"):
        read.audio(bytes(content))


def test_more_samples_than_the_memory_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "LARGEST_DECODED", 2**20)
    with pytest.raises(InputError, match=r"10000 samples in each of 30 channels \(allowed: 1 MB of decoded samples\)"):
        read.audio(encoded(np.zeros((30, 10_000), np.float32)))


def test_audio_longer_than_the_callers_limit_is_refused() -> None:
    with pytest.raises(InputError, match=r"2 s long \(allowed: up to 1.5 s\)"):
        read.audio(encoded(noise(1, 2 * RATE)), longest=1.5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_samples_are_refused(value: float) -> None:
    samples = noise(2, 100)
    samples[1, 7:10] = value
    with pytest.raises(InputError, match="audio: 3 samples are NaN or infinite"):
        read.audio(encoded(samples, subtype="FLOAT"))


@pytest.mark.parametrize(
    "content", [b"no audio at all\n" * 500, b"\0" * 10_000, b"\x89PNG\r\n\x1a\n" + b"x" * 500, b"RIFF", b"OggS", b"x"]
)
def test_a_file_that_is_not_audio_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^song: not readable as audio: .+ \(allowed: aiff, caf, flac, mp3, ogg, wav"):
        read.audio(content, name="song")


@given(content=st.binary(min_size=1, max_size=300))
@settings(deadline=None)
def test_random_bytes_give_an_input_error(content: bytes) -> None:
    with pytest.raises(InputError):
        read.audio(content)


@given(
    position=st.integers(0, 199), value=st.integers(0, 255), container=st.sampled_from(["WAV", "FLAC", "OGG", "AIFF"])
)
@settings(deadline=None)
def test_a_damaged_header_gives_audio_or_an_input_error(position: int, value: int, container: str) -> None:
    content = bytearray(encoded(noise(2, 2_000), container, "VORBIS" if container == "OGG" else "PCM_16"))
    content[position] = value
    try:
        audio = read.audio(bytes(content))
    except InputError:
        return
    assert audio.samples.size > 0


def test_other_formats_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="AU file"):
        read.audio(encoded(noise(1, 100), "AU"))


def test_an_empty_file_and_a_file_without_samples_are_refused() -> None:
    with pytest.raises(InputError, match="audio: empty file"):
        read.audio(b"")
    with pytest.raises(InputError, match="audio: no samples"):
        read.audio(encoded(noise(2, 0)))


def test_a_path_that_is_not_a_plain_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened: No such file"):
        read.audio(tmp_path / "missing.wav")
    with pytest.raises(InputError, match="not a plain file"):
        read.audio(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a plain file"):  # opening it would wait for ever
        read.audio(tmp_path / "pipe")
