"""The table of the files that are in the artifact store, and when each was last touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from acestep_flows.api.store.database import Database, upsert
from acestep_flows.api.store.group_commit import GroupCommit
from acestep_flows.api.store.records import Blob
from acestep_flows.api.store.schema import BLOBS


class FileTable:
    """Notes files. What several threads note at the same time goes into one transaction.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self._touches: GroupCommit[Blob, None] = GroupCommit(self._touch_group)

    def touch(self, blob: Blob) -> None:
        """Note a file as touched now, so that it is not removed although nothing refers to it yet."""
        self._touches.put(blob)

    def _touch_group(self, blobs: Sequence[Blob]) -> Sequence[None]:
        now = self._clock()
        sizes = {blob.digest: blob.bytes for blob in blobs}
        rows = [{"digest": digest, "bytes": size, "touched_at": now} for digest, size in sorted(sizes.items())]
        with self._database.write_beside() as connection:
            connection.execute(upsert(connection, BLOBS, lambda new: {"touched_at": new.touched_at}), rows)
        return [None] * len(blobs)
