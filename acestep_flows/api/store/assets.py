"""Assets: uploads and outputs that runs can read. Their ids do not reveal where the files are."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Row, insert, select

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.ids import is_id, no_such
from acestep_flows.api.store.records import AssetPage, AssetRecord, Blob
from acestep_flows.api.store.rows import new_id
from acestep_flows.api.store.schema import ASSETS
from acestep_flows.errors import InputError
from acestep_flows.value_file import read_value
from acestep_flows.values import MUSIC, MUSIC_KINDS, Report, Value

HIGHEST_OUTPUT_RATE = 48_000
"""Highest sample rate in Hz of audio that runs make, with two channels at most. Uploads have theirs in `details`."""

DECODED_PER_BYTE = 24
"""Decoded bytes for each byte of a file of unknown length: an mp3 of 128 kbit/s as float32 samples."""


class Assets:
    """Assets in the database, their files in the artifact store. The methods block."""

    def __init__(self, database: Database, artifacts: Artifacts, clock: Callable[[], float] = time.time) -> None:
        self._database, self._artifacts, self._clock = database, artifacts, clock

    def add(
        self,
        blob: Blob,
        kind: str,
        *,
        content_type: str,
        file_name: str,
        owner: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> AssetRecord:
        """Add an asset for a file that is in the artifact store (`Artifacts.upload`)."""
        now = self._clock()
        id = new_id("asset", now)
        with self._database.write_beside() as connection:
            connection.execute(
                insert(ASSETS).values(
                    id=id,
                    kind=kind,
                    content_type=content_type,
                    file_name=file_name,
                    digest=blob.digest,
                    bytes=blob.bytes,
                    owner=owner,
                    created_at=now,
                    details=dict(details or {}),
                )
            )
        return self.get(id)

    def get(self, id: str, owner: str | None = None, where: str = "") -> AssetRecord:
        """One asset. If `owner` is given, assets of other owners do not exist.

        Args:
            where: name of the input that names the asset, for the error.

        Raises:
            NotFound: there is no such asset, or it has expired.
        """
        query = select(ASSETS).where(ASSETS.c.id == id, ASSETS.c.expired_at.is_(None))
        if owner is not None:
            query = query.where(ASSETS.c.owner == owner)
        if is_id("asset", id):
            with self._database.read() as connection:
                if (row := connection.execute(query).one_or_none()) is not None:
                    return _record(row)
        raise no_such("asset", id, where)

    def uploads(self, *, owner: str | None = None, limit: int = 50, after: str | None = None) -> AssetPage:
        """Uploads, newest first. `after` is the `next` of the page before."""
        query = select(ASSETS).where(ASSETS.c.run.is_(None)).order_by(ASSETS.c.id.desc()).limit(limit + 1)
        if owner is not None:
            query = query.where(ASSETS.c.owner == owner)
        if after is not None:
            query = query.where(ASSETS.c.id < after)
        with self._database.read() as connection:
            records = [_record(row) for row in connection.execute(query)]
        page = tuple(records[:limit])
        return AssetPage(page, page[-1].id if len(records) > limit else None)

    def of_kind(self, id: str, kind: str, where: str = "asset", owner: str | None = None) -> AssetRecord:
        """One asset for an input that takes `kind` (music: audio or latents). Its file is not read.

        Args:
            where: name of the input, for the error.

        Raises:
            NotFound: there is no such asset.
            InputError: the asset holds another kind.
        """
        asset = self.get(id, owner, where)
        if asset.kind not in (kinds := MUSIC_KINDS if kind == MUSIC else (kind,)):
            raise InputError(f"asset {id} holds {asset.kind}", where=where, allowed=" or ".join(kinds))
        return asset

    def value(self, id: str, kind: str, where: str = "asset", owner: str | None = None) -> Value:
        """Read the value in an asset. Arguments as for `of_kind`.

        Raises:
            NotFound: there is no such asset.
            InputError: the asset holds another kind, or cannot be read.
        """
        asset = self.of_kind(id, kind, where, owner)
        kind = asset.kind
        with self._artifacts.path(asset.digest) as path:
            if kind == "audio":
                from acestep_flows.audio import read

                return read.audio(path, name=f"{where}, asset {id}")  # clients must not see the path
            try:
                if kind == "report":
                    return Report(json.loads(path.read_bytes()))
                return read_value(path, kind, where)
            except (InputError, ValueError):
                raise InputError(f"asset {id} cannot be read as {kind}", where=where) from None


def decoded_bytes(asset: AssetRecord) -> int:
    """Estimate the memory in bytes of the value in an asset without reading it. It is rather too high than too low."""
    details = asset.details
    if asset.kind != "audio":
        return asset.bytes
    if "seconds" not in details:
        return asset.bytes * DECODED_PER_BYTE
    rate, channels = details.get("sample_rate", HIGHEST_OUTPUT_RATE), details.get("channels", 2)
    return math.ceil(float(details["seconds"]) * int(rate) * int(channels) * 4)


def _record(row: Row[Any]) -> AssetRecord:
    return AssetRecord(
        id=row.id,
        kind=row.kind,
        content_type=row.content_type,
        file_name=row.file_name,
        digest=row.digest,
        bytes=row.bytes,
        owner=row.owner,
        created_at=row.created_at,
        run=row.run,
        details=row.details,
    )
