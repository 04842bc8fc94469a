"""Which files of the artifact store something refers to, asked page by page, because there may be millions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Select, select, union_all

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.schema import ASSETS, BLOBS, DERIVED_FILES, PREVIEWS

FILES_IN_PAGE = 100
"""Files looked at in one query."""


def file_pages(database: Database, before: float | None = None) -> Iterator[dict[str, int]]:
    """Bytes by digest of all files, a page at a time: those last touched before `before`, if it is given."""
    last = ""
    while True:
        with database.read() as connection:
            page = select(BLOBS).where(BLOBS.c.digest > last).order_by(BLOBS.c.digest).limit(FILES_IN_PAGE)
            rows = connection.execute(page).all()
        yield {row.digest: row.bytes for row in rows if before is None or row.touched_at < before}
        if len(rows) < FILES_IN_PAGE:
            return
        last = rows[-1].digest


def among(digests: Any, some: Sequence[str]) -> Select[tuple[str]]:
    """Those of `some` that a query for digests has. The database looks for these alone."""
    all_digests = digests.subquery()
    return select(all_digests.c[0]).where(all_digests.c[0].in_(some))


def referenced_files() -> CompoundSelect[str]:
    """Digests of files that an asset, a preview or a derived file refers to."""
    stored_assets = select(ASSETS.c.digest).where(ASSETS.c.expired_at.is_(None))
    return union_all(stored_assets, select(PREVIEWS.c.digest), select(DERIVED_FILES.c.digest))


def referenced_sizes(database: Database, files: Mapping[str, int]) -> dict[str, int]:
    """Those of `files`, as `file_pages` returns them, that something refers to."""
    with database.read() as connection:
        used = {f"{row[0]}" for row in connection.execute(among(referenced_files(), list(files)))}
    return {digest: size for digest, size in files.items() if digest in used}
