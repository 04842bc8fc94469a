"""Files that strangers send: written piece by piece, looked at before anybody believes what they are."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.store.artifacts import Artifacts, Upload
from acestep_flows.errors import InputError

PIECE = 1 << 18

CONTENT_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "aiff": "audio/aiff",
    "caf": "audio/x-caf",
}
"""By the words of `audio.read`."""


@dataclass(frozen=True)
class Sniffed:
    """What a file turned out to be."""

    content_type: str
    extension: str
    details: Mapping[str, Any]


@contextlib.asynccontextmanager
async def received(stream: AsyncIterator[bytes], artifacts: Artifacts, limit: int) -> AsyncIterator[Upload]:
    """The body of a request, to be looked at and finished; when the client goes away in the middle, nothing of it.

    Raises:
        InputError: it is empty, too large, or stops in the middle.
        Overloaded: too much is being uploaded.
        StorageError: no space.
    """
    with await in_thread(artifacts.upload, limit) as upload:
        waiting = bytearray()
        size = 0
        try:
            async for piece in stream:
                waiting += piece
                size += len(piece)
                if len(waiting) >= PIECE:
                    await in_thread(upload.write, bytes(waiting))
                    waiting.clear()
        except ClientDisconnect:
            raise InputError("the upload stopped in the middle", where="body") from None
        if not size:
            raise InputError("empty", where="body", allowed="the bytes of an audio file")
        await in_thread(upload.write, bytes(waiting))
        yield upload


def sniffed(upload: Upload, longest: float, largest: int) -> Sniffed:
    """Read a file from beginning to end as audio. What it declares is checked first, so that none unfolds in memory.

    Args:
        longest: seconds of audio accepted.
        largest: bytes of decoded samples accepted.

    Raises:
        InputError: not audio, not whole, or too much of it.
    """
    from acestep_flows.audio import read

    try:
        with upload.as_path() as path:
            with read.opened(path, "upload") as stream, read.decoder(stream, "upload") as sound:
                extension = read.READABLE[sound.format]
                if sound.frames * sound.channels * 4 > largest:
                    raise InputError("too much audio once decoded", where="upload", allowed=f"{largest >> 20} MB")
            audio = read.audio(path, longest=longest)
    except InputError as error:  # where it lies is nobody's business
        raise InputError(error.what, where="upload", allowed=error.allowed) from None
    details = {"seconds": round(audio.seconds, 3), "sample_rate": audio.sample_rate, "channels": audio.channels}
    return Sniffed(CONTENT_TYPES[extension], extension, details)
