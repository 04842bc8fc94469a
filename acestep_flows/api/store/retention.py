"""Removes what is past its retention: files by age and total bytes, finished nodes by age, old runs.

Files that a queued or running run refers to are never removed, nor are finished nodes that were used since the oldest
active run started. Saved states older than that run belong to runs that ended, so they are removed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, delete, func, select, tuple_, update

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.file_references import FILES_IN_PAGE, file_pages, referenced_files, referenced_sizes
from acestep_flows.api.store.records import UNFINISHED
from acestep_flows.api.store.schema import ASSETS, DERIVED_FILES, INPUT_ASSETS, PREVIEWS, RUNS
from acestep_flows.api.store.totals import fold_totals, total_bytes
from acestep_flows.errors import StorageError

if TYPE_CHECKING:
    from acestep_flows.api.store.home import Home

DAY = 86_400.0
GRACE_SECONDS = 3600.0
"""How long a file is kept although nothing refers to it yet."""

_BATCH = 25
"""Runs deleted in one transaction, and files expired. No run can be accepted or ended meanwhile."""


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
    """Remove what is past its retention, in small transactions, between which runs are accepted and ended.

    Args:
        now: seconds since the epoch; by default the current time.
        grace: seconds that an unreferenced file or a saved state is kept.

    Raises:
        StorageError: the database cannot be reached.
    """
    now = time.time() if now is None else now
    database = home.database
    runs = _forget_runs(database, now - keep.runs) if keep.runs is not None else 0
    files = _expire_older(database, now - keep.files, now) if keep.files is not None else 0
    if keep.previews is not None:
        files += _drop_previews(database, now - keep.previews)
    if keep.bytes is not None:
        files += _expire_oldest(database, keep.bytes, now)
    _drop_derived(database)
    freed = home.artifacts.collect(grace, referenced_files())
    oldest = oldest_active_start(database)
    started = now if oldest is None else oldest
    nodes = _drop_nodes(home, min(now - keep.nodes, started)) if keep.nodes is not None else 0
    fold_totals(database)
    return SweepResult(runs, files, freed, nodes, home.states.sweep(started - grace))


def _in_batches(database: Database, do: Callable[[Connection], int]) -> int:
    """Call `do` in one transaction after the other until it does less than a batch. Returns the sum."""
    done = 0
    while True:
        with database.write() as connection:
            count = do(connection)
        done += count
        if count < _BATCH:
            return done


def _forget_runs(database: Database, before: float) -> int:
    """Delete runs that ended before `before`, unless an active run reads their outputs. Returns how many."""
    sources = select(ASSETS.c.run).where(ASSETS.c.run.is_not(None), ASSETS.c.id.in_(_assets_in_use()))
    old = select(RUNS.c.id).where(RUNS.c.finished_at < before, RUNS.c.id.not_in(sources))

    def forget(connection: Connection) -> int:
        ids = connection.execute(old.order_by(RUNS.c.finished_at).limit(_BATCH)).scalars().all()
        if ids:
            connection.execute(delete(RUNS).where(RUNS.c.id.in_(ids)))
        return len(ids)

    return _in_batches(database, forget)


def _assets_in_use() -> Select[str]:
    """Assets that a queued or running run reads."""
    reading = INPUT_ASSETS.join(RUNS, RUNS.c.id == INPUT_ASSETS.c.run)
    return select(INPUT_ASSETS.c.asset).select_from(reading).where(RUNS.c.state.in_(UNFINISHED))


def _oldest_removable() -> Select[Any]:
    """A query for the oldest assets whose file is present and that no active run reads."""
    columns = ASSETS.c.id, ASSETS.c.digest, ASSETS.c.bytes, ASSETS.c.run
    removable = ASSETS.c.expired_at.is_(None), ASSETS.c.id.not_in(_assets_in_use())
    # All have NULL in the first, but only with it does PostgreSQL read them in the order of their index.
    order = ASSETS.c.expired_at, ASSETS.c.created_at, ASSETS.c.id
    return select(*columns).where(*removable).order_by(*order).limit(_BATCH)


def _expire_older(database: Database, before: float, now: float) -> int:
    """Expire the assets that were made before `before`. Returns how many."""

    def expire(connection: Connection) -> int:
        old = connection.execute(_oldest_removable().where(ASSETS.c.created_at < before)).all()
        _expire(connection, old, now)
        return len(old)

    return _in_batches(database, expire)


def _expire(connection: Connection, assets: Sequence[Row[Any]], now: float) -> None:
    """Expire assets. Uploads are deleted; outputs stay as records until their run goes."""
    uploads = [asset.id for asset in assets if asset.run is None]
    outputs = [asset.id for asset in assets if asset.run is not None]
    if uploads:
        connection.execute(delete(ASSETS).where(ASSETS.c.id.in_(uploads)))
    if outputs:
        connection.execute(update(ASSETS).where(ASSETS.c.id.in_(outputs)).values(expired_at=now))


def _expire_oldest(database: Database, budget: int, now: float) -> int:
    """Expire the oldest files until the rest fits in `budget` bytes. A file with several references counts once."""
    if _used_bytes(database, budget) <= budget:
        return 0
    _in_batches(database, _drop_any_derived)
    expired = _drop_previews(database, now)
    used = _used_bytes(database, budget)

    def expire(connection: Connection) -> int:
        nonlocal used
        if used <= budget:
            return 0
        chosen = list[Row[Any]]()
        for asset in connection.execute(_oldest_removable()).all():
            if used <= budget:
                break
            chosen.append(asset)
            _expire(connection, [asset], now)
            same = select(ASSETS.c.id).where(ASSETS.c.digest == asset.digest, ASSETS.c.expired_at.is_(None))
            if connection.execute(same.limit(1)).first() is None:
                used -= asset.bytes
        return len(chosen)

    return expired + _in_batches(database, expire)


def _used_bytes(database: Database, budget: int) -> int:
    """Total bytes of the referenced files, or `budget` if they are certainly no more.

    The running total has also those that nothing refers to. Only if it exceeds the budget, every file is looked at.
    """
    with database.read() as connection:
        if total_bytes(connection) <= budget:
            return budget
    return sum(size for page in file_pages(database) for size in referenced_sizes(database, page).values())


def _drop_derived(database: Database) -> None:
    """Delete the derived files whose source is not kept, page by page."""
    last = ""
    while True:
        page = select(DERIVED_FILES.c.source).where(DERIVED_FILES.c.source > last).distinct()
        with database.read() as connection:
            sources = connection.execute(page.order_by(DERIVED_FILES.c.source).limit(FILES_IN_PAGE)).scalars().all()
            stored_sources = select(ASSETS.c.digest).where(ASSETS.c.digest.in_(sources), ASSETS.c.expired_at.is_(None))
            gone = set(sources) - set(connection.execute(stored_sources).scalars())
        if gone:
            with database.write() as connection:
                connection.execute(delete(DERIVED_FILES).where(DERIVED_FILES.c.source.in_(gone)))
        if len(sources) < FILES_IN_PAGE:
            return
        last = sources[-1]


def _drop_any_derived(connection: Connection) -> int:
    """Delete a batch of derived files. They are made again when somebody asks for them."""
    some = connection.execute(select(DERIVED_FILES.c.source).distinct().limit(_BATCH)).scalars().all()
    if some:
        connection.execute(delete(DERIVED_FILES).where(DERIVED_FILES.c.source.in_(some)))
    return len(some)


def _drop_previews(database: Database, before: float) -> int:
    """Delete the previews of runs that ended at `before` or earlier. Returns how many."""
    key = tuple_(PREVIEWS.c.run, PREVIEWS.c.node)
    over = (
        select(PREVIEWS.c.run, PREVIEWS.c.node)
        .join(RUNS, RUNS.c.id == PREVIEWS.c.run)
        .where(PREVIEWS.c.created_at <= before, RUNS.c.finished_at <= before)
        .order_by(PREVIEWS.c.created_at)
        .limit(_BATCH)
    )

    def drop(connection: Connection) -> int:
        return connection.execute(delete(PREVIEWS).where(key.in_(over))).rowcount

    return _in_batches(database, drop)


def oldest_active_start(database: Database) -> float | None:
    """Start time of the oldest active run, which may need every node that was used since; None if there is none.

    Returns 0 if the database cannot be read, so that every finished node counts as needed.
    """
    oldest = select(func.min(RUNS.c.started_at)).where(RUNS.c.state.in_(UNFINISHED))
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
