"""Removes what is past its retention: files by age and total bytes, finished nodes by age, old runs.

Files that a queued or running run refers to are never removed, nor are finished nodes that were used since the oldest
active run started. Saved states older than that run belong to runs that ended, so they are removed.
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
from acestep_flows.api.store.schema import ASSETS, BLOBS, DERIVED_FILES, INPUT_ASSETS, PREVIEWS, RUNS
from acestep_flows.errors import StorageError

if TYPE_CHECKING:
    from acestep_flows.api.store.home import Home

DAY = 86_400.0
GRACE_SECONDS = 3600.0
"""How long a file is kept although nothing refers to it yet."""

_BATCH = 100
"""Runs deleted in one transaction."""


@dataclass(frozen=True)
class RetentionPolicy:
    """How long things are kept, and how many bytes. None is no limit.

    Attributes:
        files: seconds that uploads and outputs are kept.
        bytes: total of uploads, outputs, previews and derived files. Beyond it, derived files and previews of ended
            runs are removed first, then the oldest files.
        nodes: seconds that finished nodes are kept after their last use. Their bytes are limited by the cache.
        runs: seconds that a run and its outputs stay in the tables after its end.
        previews: seconds that previews are kept after the end of their run.
    """

    files: float | None = 30 * DAY
    bytes: int | None = 50 * 2**30
    nodes: float | None = 14 * DAY
    runs: float | None = 90 * DAY
    previews: float | None = DAY


@dataclass(frozen=True)
class SweepResult:
    """What a sweep removed.

    Attributes:
        runs: records of runs.
        files: uploads, outputs and previews.
        bytes: freed in the artifact store.
        nodes: finished nodes.
        states: saved states of songs.
    """

    runs: int = 0
    files: int = 0
    bytes: int = 0
    nodes: int = 0
    states: int = 0


def sweep(home: Home, keep: RetentionPolicy, now: float | None = None, grace: float = GRACE_SECONDS) -> SweepResult:
    """Remove what is past its retention.

    Args:
        now: seconds since the epoch; by default the current time.
        grace: seconds that an unreferenced file or a saved state is kept.

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
        _drop_derived(connection, DERIVED_FILES.c.source.not_in(_kept_sources()))
    freed = home.artifacts.collect(grace, _referenced())
    oldest = oldest_active_start(home.database)
    started = now if oldest is None else oldest
    nodes = _drop_nodes(home, min(now - keep.nodes, started)) if keep.nodes is not None else 0
    return SweepResult(runs, files, freed, nodes, home.states.sweep(started - grace))


def _forget_runs(database: Database, before: float) -> int:
    """Delete runs that ended before `before`, unless an active run reads their outputs. Returns how many."""
    sources = select(ASSETS.c.run).where(ASSETS.c.run.is_not(None), ASSETS.c.id.in_(_assets_in_use()))
    ended = RUNS.c.state.in_([state.value for state in ENDED])
    old = select(RUNS.c.id).where(ended, RUNS.c.finished_at < before, RUNS.c.id.not_in(sources))
    removed = 0
    while True:
        # Small batches, because no run can be accepted or ended while a write transaction is open.
        with database.write() as connection:
            ids = connection.execute(old.limit(_BATCH)).scalars().all()
            if ids:
                connection.execute(delete(RUNS).where(RUNS.c.id.in_(ids)))
        removed += len(ids)
        if len(ids) < _BATCH:
            return removed


def _assets_in_use() -> Select[str]:
    """Assets that a queued or running run reads."""
    unfinished = RUNS.c.state.in_([RunState.QUEUED.value, RunState.RUNNING.value])
    return select(INPUT_ASSETS.c.asset).join(RUNS, RUNS.c.id == INPUT_ASSETS.c.run).where(unfinished)


def _removable() -> ColumnElement[bool]:
    """The SQL condition that an asset's file is present and no active run reads it."""
    return ASSETS.c.expired_at.is_(None) & ASSETS.c.id.not_in(_assets_in_use())


def _expire(connection: Connection, which: ColumnElement[bool], now: float) -> int:
    """Expire the assets that match `which`. Uploads are deleted; outputs stay as records until their run goes."""
    uploads = connection.execute(delete(ASSETS).where(which, _removable(), ASSETS.c.run.is_(None))).rowcount
    return uploads + connection.execute(update(ASSETS).where(which, _removable()).values(expired_at=now)).rowcount


def _expire_oldest(connection: Connection, budget: int, now: float) -> int:
    """Expire the oldest files until the rest fits in `budget` bytes. A file with several references counts once."""
    if _used_bytes(connection) <= budget:
        return 0
    _drop_derived(connection, DERIVED_FILES.c.source.is_not(None))
    expired = _drop_previews(connection, now)
    used = _used_bytes(connection)
    for id, digest, size in connection.execute(
        select(ASSETS.c.id, ASSETS.c.digest, ASSETS.c.bytes)
        .where(_removable())
        .order_by(ASSETS.c.created_at, ASSETS.c.id)
    ).all():
        if used <= budget:
            break
        expired += _expire(connection, ASSETS.c.id == id, now)
        others = (
            select(func.count()).select_from(ASSETS).where(ASSETS.c.digest == digest, ASSETS.c.expired_at.is_(None))
        )
        if connection.execute(others).scalar_one() == 0:
            used -= size
    return expired


def _kept_sources() -> Select[str]:
    """Digests of the files of assets, which derived files are made from."""
    return select(ASSETS.c.digest).where(ASSETS.c.expired_at.is_(None))


def _referenced() -> CompoundSelect[str]:
    """Digests of files that an asset, a preview or a derived file refers to."""
    return union_all(_kept_sources(), select(PREVIEWS.c.digest), select(DERIVED_FILES.c.digest))


def _used_bytes(connection: Connection) -> int:
    """Total bytes of the referenced files."""
    used = select(func.sum(BLOBS.c.bytes)).where(BLOBS.c.digest.in_(_referenced()))
    return int(connection.execute(used).scalar_one() or 0)


def _drop_derived(connection: Connection, which: ColumnElement[bool]) -> None:
    """Delete derived files. They are made again when somebody asks for them."""
    connection.execute(delete(DERIVED_FILES).where(which))


def _drop_previews(connection: Connection, before: float) -> int:
    """Delete the previews of runs that ended at `before` or earlier. Returns how many."""
    over = select(RUNS.c.id).where(RUNS.c.finished_at <= before)
    return connection.execute(delete(PREVIEWS).where(PREVIEWS.c.run.in_(over))).rowcount


def oldest_active_start(database: Database) -> float | None:
    """Start time of the oldest active run, which may need every node that was used since; None if there is none.

    Returns 0 if the database cannot be read, so that every finished node counts as needed.
    """
    oldest = select(func.min(RUNS.c.started_at)).where(
        RUNS.c.state.in_([RunState.QUEUED.value, RunState.RUNNING.value])
    )
    try:
        with database.read() as connection:
            started: float | None = connection.execute(oldest).scalar_one()
    except StorageError:
        return 0.0
    return started


def _drop_nodes(home: Home, before: float) -> int:
    """Remove finished nodes that were last used before `before`. Returns how many."""
    removed = 0
    for path in home.results.glob("??/*.safetensors"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < before:
                os.unlink(path)
                removed += 1
    return removed
