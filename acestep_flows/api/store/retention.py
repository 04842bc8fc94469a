"""What is removed in time: files by age and bytes, finished nodes by age, and runs themselves when they are history.

Nothing goes that a run waiting or working refers to, and no finished node younger than the oldest run at work. States
of songs half done go when they are older than that run, for it was another that left them.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, CompoundSelect, Connection, Select, delete, func, select, union_all, update

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import ENDED, RunState
from acestep_flows.api.store.schema import ASSETS, BLOBS, INPUT_ASSETS, PREVIEWS, RUNS
from acestep_flows.errors import StorageError

if TYPE_CHECKING:
    from acestep_flows.api.store.home import Home

DAY = 86_400.0
GRACE_SECONDS = 3600.0
"""How long a file may stand before something refers to it."""

_BATCH = 100
"""Runs forgotten in one transaction."""


@dataclass(frozen=True)
class RetentionPolicy:
    """How long, and how much. None: without limit.

    Attributes:
        files: seconds that uploads and outputs are kept.
        bytes: of all uploads, outputs and previews; previews of runs that are over go first, then the oldest.
        nodes: seconds that finished nodes are kept after they were last used (their bytes are the cache's budget).
        runs: seconds that the record of a run is kept after its end, its outputs with it.
        previews: seconds that previews are kept after the end of their run.
    """

    files: float | None = 30 * DAY
    bytes: int | None = 50 * 2**30
    nodes: float | None = 14 * DAY
    runs: float | None = 90 * DAY
    previews: float | None = DAY


@dataclass(frozen=True)
class Swept:
    """What went: runs, files (uploads, outputs and previews), bytes of files, finished nodes, states of songs."""

    runs: int = 0
    files: int = 0
    bytes: int = 0
    nodes: int = 0
    states: int = 0


def sweep(home: Home, keep: RetentionPolicy, now: float | None = None, grace: float = GRACE_SECONDS) -> Swept:
    """Remove what is over its time.

    Raises:
        StorageError: the database cannot be reached.
    """
    now = time.time() if now is None else now
    runs = _forget_runs(home.database, now - keep.runs) if keep.runs is not None else 0
    with home.database.write() as connection:
        files = _expire(connection, ASSETS.c.created_at < now - keep.files, now) if keep.files is not None else 0
        if keep.previews is not None:
            files += _drop_previews(connection, now - keep.previews)
        if keep.bytes is not None:
            files += _expire_oldest(connection, keep.bytes, now)
    freed = home.artifacts.collect(grace, _referenced())
    oldest = needed_since(home.database)
    started = now if oldest is None else oldest
    nodes = _drop_nodes(home, min(now - keep.nodes, started)) if keep.nodes is not None else 0
    return Swept(runs, files, freed, nodes, home.states.sweep(started - grace))


def _forget_runs(database: Database, before: float) -> int:
    sources = select(ASSETS.c.run).where(ASSETS.c.run.is_not(None), ASSETS.c.id.in_(_needed()))
    ended = RUNS.c.state.in_([state.value for state in ENDED])
    old = select(RUNS.c.id).where(ended, RUNS.c.finished_at < before, RUNS.c.id.not_in(sources))
    gone = 0
    while True:
        # A transaction for each batch: nothing is accepted and nothing ends while one is open.
        with database.write() as connection:
            ids = connection.execute(old.limit(_BATCH)).scalars().all()
            if ids:
                connection.execute(delete(RUNS).where(RUNS.c.id.in_(ids)))
        gone += len(ids)
        if len(ids) < _BATCH:
            return gone


def _needed() -> Select[str]:
    """Assets that a run waiting or working reads."""
    unfinished = RUNS.c.state.in_([RunState.QUEUED.value, RunState.RUNNING.value])
    return select(INPUT_ASSETS.c.asset).join(RUNS, RUNS.c.id == INPUT_ASSETS.c.run).where(unfinished)


def _idle() -> ColumnElement[bool]:
    """Files that may go."""
    return ASSETS.c.expired_at.is_(None) & ASSETS.c.id.not_in(_needed())


def _expire(connection: Connection, which: ColumnElement[bool], now: float) -> int:
    """Let go of files. The record of an upload goes with it; that of an output stays as long as its run."""
    uploads = connection.execute(delete(ASSETS).where(which, _idle(), ASSETS.c.run.is_(None))).rowcount
    return uploads + connection.execute(update(ASSETS).where(which, _idle()).values(expired_at=now)).rowcount


def _expire_oldest(connection: Connection, budget: int, now: float) -> int:
    """Let go of the oldest files until the rest is within `budget`; a file that several refer to counts once."""
    if _used(connection) <= budget:
        return 0
    gone = _drop_previews(connection, now)
    used = _used(connection)
    for id, digest, size in connection.execute(
        select(ASSETS.c.id, ASSETS.c.digest, ASSETS.c.bytes).where(_idle()).order_by(ASSETS.c.created_at, ASSETS.c.id)
    ).all():
        if used <= budget:
            break
        gone += _expire(connection, ASSETS.c.id == id, now)
        others = (
            select(func.count()).select_from(ASSETS).where(ASSETS.c.digest == digest, ASSETS.c.expired_at.is_(None))
        )
        if connection.execute(others).scalar_one() == 0:
            used -= size
    return gone


def _referenced() -> CompoundSelect[str]:
    """Files that something refers to."""
    return union_all(select(ASSETS.c.digest).where(ASSETS.c.expired_at.is_(None)), select(PREVIEWS.c.digest))


def _used(connection: Connection) -> int:
    """Bytes of all files that something refers to."""
    used = select(func.sum(BLOBS.c.bytes)).where(BLOBS.c.digest.in_(_referenced()))
    return int(connection.execute(used).scalar_one() or 0)


def _drop_previews(connection: Connection, before: float) -> int:
    """Let go of the previews of runs that ended before."""
    over = select(RUNS.c.id).where(RUNS.c.finished_at <= before)
    return connection.execute(delete(PREVIEWS).where(PREVIEWS.c.run.in_(over))).rowcount


def needed_since(database: Database) -> float | None:
    """When the oldest run at work started: it may need every finished node that was used since. None: there is none.

    Where the database does not say, all may be needed.
    """
    oldest = select(func.min(RUNS.c.started_at)).where(
        RUNS.c.state.in_([RunState.QUEUED.value, RunState.RUNNING.value])
    )
    try:
        with database.read() as connection:
            found: float | None = connection.execute(oldest).scalar_one()
    except StorageError:
        return 0.0
    return found


def _drop_nodes(home: Home, before: float) -> int:
    """Remove finished nodes that were not used for long. A run at work may need all it used since it started."""
    gone = 0
    for path in home.results.glob("??/*.safetensors"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < before:
                os.unlink(path)
                gone += 1
    return gone
