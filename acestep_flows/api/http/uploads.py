"""Uploads from untrusted clients: written in parts, and decoded to find out what they really are."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.store.artifacts import Artifacts, Upload
from acestep_flows.errors import InputError

WRITE_BYTES = 1 << 18
"""Bytes collected before each write."""

CONTENT_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "aiff": "audio/aiff",
    "caf": "audio/x-caf",
}
"""Content types by the names of `audio.containers.READABLE`."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file contains.

    Attributes:
        details: seconds, sample rate, channels, and notes on what is changed when it is read.
    """

    content_type: str
    extension: str
    details: Mapping[str, Any]


@contextlib.asynccontextmanager
async def receive_upload(stream: AsyncIterator[bytes], artifacts: Artifacts, limit: int) -> AsyncIterator[Upload]:
    """Write the body of a request to an upload, for the caller to inspect and finish.

    Raises:
        InputError: the body is empty, larger than `limit` bytes, or the client disconnected before its end.
        Overloaded: unfinished uploads take too many bytes together.
        StorageError: the disk is full.
    """
    with await in_thread(artifacts.upload, limit) as upload:
        buffer = bytearray()
        size = 0
        try:
            async for chunk in stream:
                buffer += chunk
                size += len(chunk)
                if len(buffer) >= WRITE_BYTES:
                    await in_thread(upload.write, bytes(buffer))
                    buffer.clear()
        except ClientDisconnect:
            raise InputError("the client disconnected before the end of the upload", where="body") from None
        if not size:
            raise InputError("empty", where="body", allowed="the bytes of an audio file, or a form with one")
        await in_thread(upload.write, bytes(buffer))
        yield upload


def inspect_audio(upload: Upload, longest: float, largest: int) -> AudioInfo:
    """Decode a whole file as audio, block by block, and keep nothing of it.

    Its size is checked as declared and as decoded, against decompression bombs.

    Args:
        longest: longest accepted audio in seconds.
        largest: most accepted bytes of decoded samples.

    Raises:
        InputError: the file is not audio, is damaged, or is too long.
    """
    from acestep_flows.audio import read

    with upload.as_path() as path:
        sound = read.describe(path, name="upload", longest=longest, largest=largest)
    details = {"seconds": round(sound.seconds, 3), "sample_rate": sound.sample_rate, "channels": sound.channels}
    notes = {"notes": list(sound.notes)} if sound.notes else {}
    return AudioInfo(CONTENT_TYPES[sound.format], sound.format, details | notes)
