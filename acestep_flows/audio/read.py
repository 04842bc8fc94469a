"""Reading of audio files from users (spec 04 section 1): float samples at the file's own rate, with all its channels.

A file may declare a wrong length, be truncated, or not be audio at all. It is read in blocks, so memory is never
allocated for a declared length, and every failure is an error of one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from acestep_flows.audio import riff
from acestep_flows.errors import InputError
from acestep_flows.values import Audio, FloatArray

READABLE = {"WAV": "wav", "WAVEX": "wav", "FLAC": "flac", "MP3": "mp3", "OGG": "ogg", "AIFF": "aiff", "CAF": "caf"}
"""Readable formats, by libsndfile's names. Its rarer formats are excluded: files that are not audio may match them."""

ALLOWED = ", ".join(sorted(set(READABLE.values())))

LONGEST_SECONDS = 3600.0
LARGEST_DECODED = 2**31  # bytes of fp32 samples, all channels
FRAMES_PER_BLOCK = 1 << 18
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # as values.Audio
OGG_LARGEST_PAGE = 65_307  # bytes
OGG_LAST_PAGE = 4  # bit of a page's header type

Source = str | os.PathLike[str] | bytes


def audio(source: Source, *, name: str = "audio", longest: float = LONGEST_SECONDS) -> Audio:
    """Read `source`, a path or the bytes of a file.

    Args:
        source: a wav, flac, mp3, ogg, aiff or caf file.
        name: the name of a source given as bytes, for errors.
        longest: the longest accepted duration in seconds.

    Raises:
        InputError: the file is missing, not audio, empty, truncated or too long, or has NaN or infinite samples.
    """
    where = name if isinstance(source, bytes) else str(source)
    with opened(source, where) as stream:
        truncated = riff.is_truncated(stream) or _ogg_is_truncated(stream)
        with decoder(stream, where) as sound:
            _check_declared(sound, where, longest)
            samples, declared, rate = _samples(sound), sound.frames, sound.samplerate
    if truncated or samples.shape[1] < declared:
        raise InputError(f"truncated after {samples.shape[1] / rate:.2f} s", where=where, allowed="a complete file")
    if samples.shape[1] == 0:
        raise InputError("no samples", where=where, allowed="at least one sample")
    if invalid := samples.size - int(np.isfinite(samples).sum()):
        raise InputError(f"{invalid} samples are NaN or infinite", where=where, allowed="finite samples")
    return Audio(samples, rate)


def opened(source: Source, where: str) -> BinaryIO:
    """The bytes of `source` as a stream. The caller must close it.

    Args:
        where: the source's name for errors.

    Raises:
        InputError: the source cannot be opened, is not a plain file, or is empty.
    """
    if isinstance(source, bytes):
        stream: BinaryIO = BytesIO(source)
    else:
        try:
            path = Path(source)
            if path.exists() and not path.is_file():  # a folder, or a device or pipe that may never end
                raise InputError("not a plain file", where=where, allowed=ALLOWED)
            stream = path.open("rb")
        except OSError as error:
            raise InputError(f"cannot be opened: {error.strerror}", where=where, allowed=ALLOWED) from error
    if stream.seek(0, SEEK_END) == 0:
        stream.close()
        raise InputError("empty file", where=where, allowed=ALLOWED)
    stream.seek(0)
    return stream


@contextmanager
def decoder(stream: BinaryIO, where: str) -> Iterator[soundfile.SoundFile]:
    """A libsndfile decoder on `stream`. Its errors, also those of the caller's reads, become `InputError`."""
    stream.seek(0)
    try:
        with soundfile.SoundFile(_BoundedStream(stream)) as sound:
            if sound.format not in READABLE:
                raise InputError(f"{sound.format} file", where=where, allowed=ALLOWED)
            yield sound
    except soundfile.LibsndfileError as error:
        reason = error.error_string.removeprefix("Error : ").rstrip(" .")
        raise InputError(f"not readable as audio: {reason}", where=where, allowed=ALLOWED) from error


class _BoundedStream:
    """A stream for libsndfile whose seeks stay inside the file.

    With a damaged header libsndfile may seek before the start. An exception in its callback would print a traceback on
    standard error, so such a seek goes to the start.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._length = stream.seek(0, SEEK_END)
        stream.seek(0)

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        base = {SEEK_SET: 0, SEEK_CUR: self._stream.tell(), SEEK_END: self._length}[whence]
        return self._stream.seek(min(max(0, base + offset), self._length))

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int) -> bytes:
        return self._stream.read(max(0, size))


def _check_declared(sound: soundfile.SoundFile, where: str, longest: float) -> None:
    if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
        raise InputError(f"{sound.samplerate} Hz", where=where, allowed=f"{LOWEST_RATE} to {HIGHEST_RATE} Hz")
    if sound.frames > longest * sound.samplerate:
        duration = f"{sound.frames / sound.samplerate:.0f} s long"
        raise InputError(duration, where=where, allowed=f"up to {longest:g} s")
    if sound.frames * sound.channels * 4 > LARGEST_DECODED:
        size = f"{sound.frames} samples in each of {sound.channels} channels"
        raise InputError(size, where=where, allowed=f"{LARGEST_DECODED >> 20} MB of decoded samples")


def _samples(sound: soundfile.SoundFile) -> FloatArray:
    """All samples that can be decoded, (channels, n)."""
    blocks = [np.zeros((0, sound.channels), np.float32)]
    while len(block := sound.read(FRAMES_PER_BLOCK, dtype="float32", always_2d=True)):
        blocks.append(block)
    return np.ascontiguousarray(np.concatenate(blocks).T)


def _ogg_is_truncated(stream: BinaryIO) -> bool:
    """Whether an Ogg stream lacks a page that is marked as the last."""
    stream.seek(0)
    if stream.read(4) != b"OggS":
        return False
    stream.seek(max(0, stream.seek(0, SEEK_END) - OGG_LARGEST_PAGE))
    tail = stream.read()
    page = tail.rfind(b"OggS")
    return page < 0 or len(tail) <= page + 5 or not tail[page + 5] & OGG_LAST_PAGE
