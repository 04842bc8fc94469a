"""Running totals in place of scans: ended runs by owner and state, and the bytes of all files.

Triggers of the database add a row for each change. A total is the sum of its rows, so that writers never wait for each
other; `fold_totals` sums them up from time to time.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import Connection, delete, func, insert, select, tuple_

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.schema import BYTES, TOTALS

MOST_ROWS = 50
"""Rows of one total that are left as they are."""


def total_bytes(connection: Connection) -> int:
    """Bytes of all files of the artifact store, also of those that nothing refers to."""
    total = select(func.sum(TOTALS.c.amount)).where(TOTALS.c.name == BYTES)
    return int(connection.execute(total).scalar_one() or 0)


def fold_totals(database: Database) -> None:
    """Put one row in place of the many of a total."""
    key = tuple_(TOTALS.c.name, TOTALS.c.owner)
    long = (
        select(TOTALS.c.name, TOTALS.c.owner).group_by(TOTALS.c.name, TOTALS.c.owner).having(func.count() > MOST_ROWS)
    )
    with database.read() as connection:
        if connection.execute(long.limit(1)).first() is None:
            return
    with database.write_beside() as connection:
        sums: Counter[tuple[str, str]] = Counter()
        for row in connection.execute(delete(TOTALS).where(key.in_(long)).returning(*TOTALS.c)):
            sums[row.name, row.owner] += row.amount
        if sums:
            rows = [{"name": name, "owner": owner, "amount": amount} for (name, owner), amount in sums.items()]
            connection.execute(insert(TOTALS), rows)
