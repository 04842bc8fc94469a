"""Files made from stored files, by the digest of the source: another format, or peaks for drawing.

They can be made again, so `retention` removes them with their source and before anything else.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import delete, insert, select

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import Blob
from acestep_flows.api.store.schema import DERIVED_FILES


class DerivedFiles:
    """The derived files in the database, their content in the artifact store. The methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, artifacts: Artifacts, clock: Callable[[], float] = time.time) -> None:
        self._database, self._artifacts, self._clock = database, artifacts, clock

    def find(self, source: str, variant: str) -> Blob | None:
        """The file that was made from the file with digest `source`; None if it was not made yet."""
        this_variant = DERIVED_FILES.c.source == source, DERIVED_FILES.c.variant == variant
        with self._database.read() as connection:
            row = connection.execute(select(DERIVED_FILES).where(*this_variant)).one_or_none()
        return None if row is None else Blob(row.digest, row.bytes)

    def put(self, source: str, variant: str, content: bytes) -> Blob:
        """Store a derived file; an earlier one of the same variant is replaced.

        Raises:
            StorageError: the disk is full.
        """
        blob = self._artifacts.put(content)
        this_variant = DERIVED_FILES.c.source == source, DERIVED_FILES.c.variant == variant
        with self._database.write() as connection:
            connection.execute(delete(DERIVED_FILES).where(*this_variant))
            row = {"source": source, "variant": variant, "digest": blob.digest, "bytes": blob.bytes}
            connection.execute(insert(DERIVED_FILES).values(row | {"created_at": self._clock()}))
        return blob
