"""Uploads from untrusted clients: written in parts, and read to find out what they really are: audio or latents."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect

from acestep_flows.api.http.dependencies import in_thread
from acestep_flows.api.store.artifacts import Artifacts, Upload
from acestep_flows.errors import InputError
from acestep_flows.value_file import SUFFIX, form_of_music, read_value
from acestep_flows.values import Latents

LATENTS = Latents.kind
LATENTS_TYPE = "application/octet-stream"

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
class UploadInfo:
    """What a file contains.

    Attributes:
        kind: audio or latents.
        details: seconds; of audio sample rate, channels, and notes on what is changed when it is read.
    """

    kind: str
    content_type: str
    extension: str
    details: Mapping[str, Any]


@contextlib.asynccontextmanager
async def receive_upload(
    stream: AsyncIterator[bytes],
    artifacts: Artifacts,
    limit: int,
    field: str = "body",
    allowed: str = "the bytes of a file with audio or latents, or a form with one",
) -> AsyncIterator[Upload]:
    """Write the body of a request to an upload, for the caller to inspect and finish.

    Args:
        field: of the request that has the file, for errors.
        allowed: what the body may be, for errors.

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
            raise InputError("empty", where=field, allowed=allowed)
        await in_thread(upload.write, bytes(buffer))
        yield upload


def inspect_upload(upload: Upload, longest: float, largest: int, name: str = "", field: str = "body") -> UploadInfo:
    """Read a whole file as what its content says it is, and keep nothing of it.

    Args:
        longest: longest accepted music in seconds.
        largest: most accepted bytes of decoded samples, or of latents.
        name: of the file, for errors.
        field: of the request that has the file, for errors.

    Raises:
        InputError: the file is neither audio nor latents, is damaged, or is too long.
    """
    with upload.as_path() as path:
        inspect = inspect_latents if form_of_music(path) == LATENTS else inspect_audio
        try:
            return inspect(path, longest, largest, name or "upload")
        except InputError as error:
            error.field = field
            raise


def inspect_latents(path: Path, longest: float, largest: int, name: str) -> UploadInfo:
    """Read a file of latents: its shape, its numbers, and its digest. Arguments as for `inspect_upload`."""
    if path.stat().st_size > largest:
        raise InputError(f"{path.stat().st_size} bytes", where=name, allowed=f"up to {largest} bytes")
    try:
        latents = read_value(path, LATENTS, name)
    except InputError as error:  # clients must not see the path
        raise InputError(error.what.replace(str(path), "the file"), where=name, allowed=error.allowed) from None
    assert isinstance(latents, Latents)
    if latents.seconds > longest:
        raise InputError(f"{latents.seconds:.1f} s of latents", where=name, allowed=f"at most {longest:g} s")
    return UploadInfo(LATENTS, LATENTS_TYPE, SUFFIX.removeprefix("."), {"seconds": round(latents.seconds, 6)})


def inspect_audio(path: Path, longest: float, largest: int, name: str) -> UploadInfo:
    """Decode a file as audio, block by block. Arguments as for `inspect_upload`.

    Its size is checked as declared and as decoded, against decompression bombs.
    """
    from acestep_flows.audio import read

    sound = read.describe(path, name=name, longest=longest, largest=largest)
    details = {"seconds": round(sound.seconds, 3), "sample_rate": sound.sample_rate, "channels": sound.channels}
    notes = {"notes": list(sound.notes)} if sound.notes else {}
    return UploadInfo("audio", CONTENT_TYPES[sound.format], sound.format, details | notes)
