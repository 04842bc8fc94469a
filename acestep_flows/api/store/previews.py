"""The latest preview of every node of a run that has any: its file in the artifact store, replaced by the next one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from sqlalchemy import delete, insert, select

from acestep_flows.api.store.artifacts import Artifacts
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.leases import holds
from acestep_flows.api.store.records import Blob, Lease, PreviewRecord
from acestep_flows.api.store.schema import PREVIEWS
from acestep_flows.errors import NotFound


class Previews:
    """Previews in the database. Its methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, artifacts: Artifacts, clock: Callable[[], float] = time.time) -> None:
        self._database, self._artifacts, self._clock = database, artifacts, clock

    def put(self, lease: Lease, node: str, step: int, steps: int, seconds: float, blob: Blob) -> bool:
        """Keep a preview in place of the node's earlier one, whose file goes; False where the lease is lost.

        Args:
            seconds: how much of the song there is to hear.
            blob: the file, which stands in the artifact store.
        """
        which = PREVIEWS.c.run == lease.run, PREVIEWS.c.node == node
        with self._database.write() as connection:
            if not holds(connection, lease):
                return False
            before = connection.execute(delete(PREVIEWS).where(*which).returning(PREVIEWS.c.digest)).scalars().all()
            row = PreviewRecord(lease.run, node, step, steps, seconds, blob.digest, blob.bytes, self._clock())
            connection.execute(insert(PREVIEWS).values(asdict(row)))
        for digest in before:
            if digest != blob.digest:
                self._artifacts.drop(digest)
        return True

    def get(self, run: str, node: str) -> PreviewRecord:
        """The latest preview of a node.

        Raises:
            NotFound: there is none.
        """
        for found in self.all(run):
            if found.node == node:
                return found
        raise NotFound(f"no preview of a node {node[:100]!r}, or none any more")

    def all(self, run: str) -> tuple[PreviewRecord, ...]:
        """The latest previews of a run, one for each node that has any."""
        wanted = select(PREVIEWS).where(PREVIEWS.c.run == run).order_by(PREVIEWS.c.node)
        with self._database.read() as connection:
            return tuple(PreviewRecord(**row) for row in connection.execute(wanted).mappings())
