"""A stored file as requests want it: as it is, in another format, or as peaks for drawing.

Derived files are made in threads, a few at a time, once for all who ask, and kept by the digest of their source.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from weakref import WeakValueDictionary

from fastapi import Request
from starlette.responses import Response

from acestep_flows.api.http.dependencies import Streams, in_thread
from acestep_flows.api.http.limits import ByteBudget
from acestep_flows.api.http.ranges import Disposition, file_response
from acestep_flows.api.http.schema_base import AudioFormat
from acestep_flows.api.http.uploads import CONTENT_TYPES
from acestep_flows.api.service import Service
from acestep_flows.api.store.assets import decoded_bytes
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.records import AssetRecord, Blob
from acestep_flows.errors import InputError

MOST_AT_ONCE = 2
"""Derived files that are made at the same time. Each keeps a core busy."""


@dataclass(frozen=True)
class StoredFile:
    """A file of the artifact store, with what a response says about it.

    Attributes:
        warnings: what was changed so that the file plays within full scale; the header `X-Warnings`.
    """

    digest: str
    bytes: int
    content_type: str
    file_name: str
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_asset(cls, asset: AssetRecord) -> StoredFile:
        """The file of an asset."""
        return cls(asset.digest, asset.bytes, asset.content_type, asset.file_name)

    async def response(self, request: Request, home: Home, disposition: Disposition = "attachment") -> Response:
        """The response to a GET or HEAD of this file."""
        response = await file_response(
            request,
            home.artifacts,
            digest=self.digest,
            size=self.bytes,
            content_type=self.content_type,
            file_name=self.file_name,
            disposition=disposition,
        )
        if self.warnings:
            response.headers["X-Warnings"] = "; ".join(self.warnings)
        return response


class Conversions:
    """Makes derived files of audio, on one event loop.

    Args:
        budget: memory for decoded audio.
    """

    def __init__(self, home: Home, budget: ByteBudget) -> None:
        self._home, self._budget = home, budget
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._being_made: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def in_format(self, asset: AssetRecord, format: str) -> StoredFile:
        """The audio of an asset in another format, with its tags; the file itself where it has that format.

        What was changed to fit the format is kept beside the new file, for those who ask later.

        Raises:
            InputError: the asset is not audio.
        """
        file = StoredFile.of_asset(asset)
        _check_audio(asset, "format")
        if asset.content_type == CONTENT_TYPES[format]:
            return file

        def make(path: Path) -> bytes:
            from acestep_flows.audio import write
            from acestep_flows.audio.convert import convert

            encoded = convert(path, format)
            if warnings := write.warnings(encoded):
                self._home.derived.put(asset.digest, f"{format}-warnings", json.dumps(warnings).encode())
            return encoded.content

        blob = await self._derived(asset, format, make)
        warnings = await in_thread(self._warnings, asset.digest, format)
        name, kind = f"{PurePath(asset.file_name).stem}.{format}", CONTENT_TYPES[format]
        return replace(file, digest=blob.digest, bytes=blob.bytes, content_type=kind, file_name=name, warnings=warnings)

    def _warnings(self, source: str, format: str) -> tuple[str, ...]:
        """What was changed when a file was made."""
        if (blob := self._home.derived.find(source, f"{format}-warnings")) is None:
            return ()
        with self._home.artifacts.open(blob.digest) as file:
            return tuple(json.loads(file.read()))

    async def as_peaks(self, asset: AssetRecord, per_second: int) -> StoredFile:
        """The peaks of an asset as JSON.

        Raises:
            InputError: the asset is not audio.
        """
        _check_audio(asset, "peaks")

        def make(path: Path) -> bytes:
            from acestep_flows.audio import read
            from acestep_flows.audio.peaks import peaks

            audio = read.audio(path)
            pairs = peaks(audio, per_second).reshape(-1).tolist()
            content = {"per_second": per_second, "seconds": round(audio.seconds, 3), "peaks": pairs}
            return json.dumps(content, separators=(",", ":")).encode()

        blob = await self._derived(asset, f"peaks-{per_second}", make)
        name = f"{PurePath(asset.file_name).stem}-peaks.json"
        return StoredFile(blob.digest, blob.bytes, "application/json", name)

    async def _derived(self, asset: AssetRecord, variant: str, make: Callable[[Path], bytes]) -> Blob:
        """The derived file of an asset, found or made."""
        derived, source = self._home.derived, asset.digest
        if (blob := await in_thread(derived.find, source, variant)) is not None:
            return blob
        lock = self._being_made.setdefault((source, variant), asyncio.Lock())
        async with lock:
            if (blob := await in_thread(derived.find, source, variant)) is not None:
                return blob

            def make_and_keep() -> Blob:
                with self._home.artifacts.path(source) as path:
                    try:
                        content = make(path)
                    except InputError as error:  # clients must not see the path
                        raise InputError(error.what, where=f"asset {asset.id}", allowed=error.allowed) from None
                return derived.put(source, variant, content)

            async with self._slots, self._budget.reserve(2 * decoded_bytes(asset)):
                return await in_thread(make_and_keep)


def _check_audio(asset: AssetRecord, wanted: str) -> None:
    if asset.kind != "audio":
        raise InputError(f"{asset.file_name} holds {asset.kind}", where=wanted, allowed="audio")


async def asset_response(
    request: Request,
    service: Service,
    owner: str,
    asset: AssetRecord,
    format: AudioFormat | None = None,
    disposition: Disposition = "attachment",
) -> Response:
    """The response with the file of an asset, in another format where one is wanted.

    Args:
        owner: whose share of open streams a request counts towards while it waits for a conversion.

    Raises:
        InputError: another format of a file that is not audio.
        Overloaded: too many requests wait.
    """
    file = StoredFile.of_asset(asset)
    if format is not None:
        streams: Streams = request.app.state.streams
        conversions: Conversions = request.app.state.conversions
        async with streams.hold(owner):
            file = await conversions.in_format(asset, format)
    return await file.response(request, service.home, disposition)


async def peaks_response(
    request: Request, service: Service, owner: str, asset: AssetRecord, per_second: int
) -> Response:
    """The response with the peaks of an asset. Arguments and errors as for `asset_response`."""
    streams: Streams = request.app.state.streams
    conversions: Conversions = request.app.state.conversions
    async with streams.hold(owner):
        file = await conversions.as_peaks(asset, per_second)
    return await file.response(request, service.home, "inline")
