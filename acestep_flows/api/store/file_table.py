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
        self._touches: GroupCommit[Sequence[Blob], None] = GroupCommit(self._touch_group)

    def touch(self, blobs: Sequence[Blob]) -> None:
        """Note files as touched now, so that they are not removed although nothing refers to them yet."""
        self._touches.put(blobs)

    def _touch_group(self, group: Sequence[Sequence[Blob]]) -> Sequence[None]:
        now = self._clock()
        sizes = {blob.digest: blob.bytes for blobs in group for blob in blobs}
        rows = [{"digest": digest, "bytes": size, "touched_at": now} for digest, size in sorted(sizes.items())]
        with self._database.write_beside() as connection:
            connection.execute(upsert(connection.dialect.name, BLOBS, lambda new: {"touched_at": new.touched_at}), rows)
        return [None] * len(group)
