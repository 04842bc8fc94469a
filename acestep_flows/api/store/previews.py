"""The latest preview of each node of a run. The next preview of a node replaces it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import delete, insert, select

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import lease_is_held
from acestep_flows.api.store.records import Blob, Lease, PreviewRecord
from acestep_flows.api.store.schema import PREVIEWS
from acestep_flows.errors import NotFound


class Previews:
    """Previews in the database, their files in the artifact store. The methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, artifacts: Artifacts, clock: Callable[[], float] = time.time) -> None:
        self._database, self._artifacts, self._clock = database, artifacts, clock

    def put(self, lease: Lease, node: str, step: int, steps: int, seconds: float, blob: Blob) -> bool:
        """Replace the preview of a node, and remove the file of the earlier one; False if the lease is lost.

        Args:
            seconds: length of the preview.
            blob: its file, already in the artifact store.
        """
        same_node = PREVIEWS.c.run == lease.run, PREVIEWS.c.node == node
        with self._database.write_beside() as connection:
            if not lease_is_held(connection, lease):
                return False
            removal = delete(PREVIEWS).where(*same_node).returning(PREVIEWS.c.digest)
            replaced = connection.execute(removal).scalars().all()
            row = PreviewRecord(lease.run, node, step, steps, seconds, blob.digest, blob.bytes, self._clock())
            connection.execute(insert(PREVIEWS).values(asdict(row)))
        for digest in replaced:
            if digest != blob.digest:
                self._artifacts.drop(digest)
        return True

    def get(self, run: str, node: str) -> PreviewRecord:
        """The latest preview of a node.

        Raises:
            NotFound: the node has no preview, or it was removed.
        """
        for preview in self.all(run):
            if preview.node == node:
                return preview
        raise NotFound(f"no preview of a node {node[:100]!r}: there is none yet, or it was removed", field="node")

    def all(self, run: str) -> tuple[PreviewRecord, ...]:
        """The latest previews of a run, one for each node that has one."""
        query = select(PREVIEWS).where(PREVIEWS.c.run == run).order_by(PREVIEWS.c.node)
        with self._database.read() as connection:
            return tuple(PreviewRecord(**row) for row in connection.execute(query).mappings())
