"""Audio files made for tests, in every format that is read, and the ways in which people's files are odd."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

import soundfile

from acestep_flows.values import FloatArray
from tests.audio.signals import RATE, noise

FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "FLOAT"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("AIFF", "PCM_16"),
    ("AIFF", "FLOAT"),
    ("AIFF", "ULAW"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
]

PIECE = 1 << 14


def encoded(samples: FloatArray, container: str = "WAV", subtype: str = "PCM_16", rate: int = RATE) -> bytes:
    stream = BytesIO()
    with soundfile.SoundFile(stream, "w", rate, len(samples), subtype, format=container) as file:
        for start in range(0, samples.shape[1], PIECE):  # libsndfile's Vorbis encoder overflows on more at once
            file.write(samples[:, start : start + PIECE].T)
    return stream.getvalue()


def chunk_size(wav: bytes, size: int, riff: int | None = None) -> bytes:
    """A WAV with a plain header and other sizes in it."""
    content = bytearray(wav)
    assert content[36:40] == b"data"
    struct.pack_into("<I", content, 40, size & 0xFFFF_FFFF)
    if riff is not None:
        struct.pack_into("<I", content, 4, riff)
    return bytes(content)


def with_mask(samples: FloatArray, mask: int, rate: int = RATE) -> bytes:
    """A 16-bit WAV with a channel mask."""
    channels = len(samples)
    data = (samples.T * 32767).round().astype("<i2").tobytes()
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    kind = struct.pack("<HHIIHHHHI", 0xFFFE, channels, rate, rate * channels * 2, channels * 2, 16, 22, 16, mask) + guid
    body = b"WAVEfmt " + struct.pack("<I", len(kind)) + kind + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def id3(size: int, *, footer: bool = False) -> bytes:
    """An ID3v2.4 tag of `size` bytes behind its header."""
    length = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\4\0" + (b"\x10" if footer else b"\0") + length + b"\xff\xfb" * (size // 2) + bytes(
        size % 2 + 10 * footer
    )  # fmt: skip


ENDLESS = (
    b"RIFF\x60\0\0\0WAVEfmt "
    + struct.pack("<IHHIIHH", 16, 1, 1, 44_100, 88_200, 2, 16)
    + b"LIST\xe8\3\0\0INFOXXXX\xf8\xff\xff\xff"
    + b"data\x28\0\0\0"
    + bytes(40)
)
"""A WAV on which libsndfile 1.2.2 does not come to an end: a part of an INFO list with a huge size."""


@dataclass(frozen=True)
class DoorCase:
    """A file that every door must treat alike: read with this note, or refused with these words (patterns)."""

    content: bytes
    note: str = ""
    refusal: str = ""


def _cases() -> dict[str, DoorCase]:
    second = noise(2, RATE)
    cut = encoded(second)[: -2 * RATE]
    return {
        "unknown size": DoorCase(chunk_size(encoded(second), 0, 0)),
        "wave64": DoorCase(encoded(second, "W64")),
        "surround": DoorCase(encoded(noise(6, RATE), "FLAC"), note=r"6 channels \(FL FR FC LFE BL BR\) are mixed down"),
        "endless": DoorCase(ENDLESS, refusal="not readable as audio: no data chunk"),
        "cut": DoorCase(cut, refusal=r"truncated after 0\.50 s; 0\.50 s are missing"),
        "m4a": DoorCase(b"\0\0\0\x1cftypM4A \0\0\2\0" + bytes(500), refusal=r"M4A or MP4 file.*ffmpeg -i "),
        "empty": DoorCase(encoded(second[:, :0]), refusal="no samples .*at least one sample"),
    }


DOOR_CASES = _cases()
