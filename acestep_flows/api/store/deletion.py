"""Deletion of runs, outputs and uploads by their owner.

What an unfinished run reads is never deleted. The files leave the disk with the next sweep of `retention`, unless
something else refers to the same content.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import ColumnElement, Connection, delete, select, update

from acestep_flows.api.store.audit import note
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.ids import no_such
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.schema import ASSETS, INPUT_ASSETS, RUNS
from acestep_flows.errors import Conflict, NotFound


class Deletion:
    """Deletes what an owner asks for. The methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def forget_run(self, id: str, owner: str | None = None) -> None:
        """Delete a run that has ended: its record, nodes, events, previews, labels and outputs.

        Raises:
            NotFound: there is no such run of this owner.
            Conflict: the run has not ended, or an unfinished run reads one of its outputs.
        """
        with self._database.write() as connection:
            query = select(RUNS.c.state, RUNS.c.owner, RUNS.c.graph)
            run = connection.execute(query.where(RUNS.c.id == id, *_owned(RUNS.c.owner, owner))).one_or_none()
            if run is None:
                raise no_such("run", id)
            if not RunState(run.state).ended:
                raise Conflict(f"run {id} is {run.state}; cancel it, and forget it when it has ended", field="id")
            _refuse_used(connection, ASSETS.c.run == id)
            connection.execute(delete(RUNS).where(RUNS.c.id == id))
            note(connection, self._clock(), run.owner, "run.deleted", id, graph=run.graph)

    def delete_asset(self, id: str, owner: str | None = None) -> None:
        """Delete an upload, or the file of an output, of which its run keeps a record as expired.

        Raises:
            NotFound: there is no such asset of this owner, or it is deleted already.
            Conflict: an unfinished run reads it.
        """
        this = ASSETS.c.id == id
        with self._database.write() as connection:
            undeleted = select(ASSETS.c.run, ASSETS.c.owner, ASSETS.c.bytes).where(
                this, ASSETS.c.expired_at.is_(None), *_owned(ASSETS.c.owner, owner)
            )
            asset = connection.execute(undeleted).one_or_none()
            if asset is None:
                raise NotFound(f"no asset {id[:60]!r}, or it is deleted already", field="id")
            _refuse_used(connection, this)
            if asset.run is None:
                connection.execute(delete(ASSETS).where(this))
            else:
                connection.execute(update(ASSETS).where(this).values(expired_at=self._clock()))
            note(connection, self._clock(), asset.owner, "file.deleted", id, bytes=asset.bytes)


def _owned(column: ColumnElement[str], owner: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if owner is None else (column == owner,)


def _refuse_used(connection: Connection, which: ColumnElement[bool]) -> None:
    """Refuse to delete assets that an unfinished run reads.

    Raises:
        Conflict: there is such a run.
    """
    unfinished = RUNS.c.state.in_([RunState.QUEUED.value, RunState.RUNNING.value])
    readers = (
        select(RUNS.c.id)
        .join(INPUT_ASSETS, INPUT_ASSETS.c.run == RUNS.c.id)
        .where(unfinished, INPUT_ASSETS.c.asset.in_(select(ASSETS.c.id).where(which)))
        .limit(1)
    )
    if (reader := connection.execute(readers).scalar()) is not None:
        what = f"run {reader} still needs it; delete it when that run has ended, or cancel that run"
        raise Conflict(what, field="id")
