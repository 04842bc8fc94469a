"""Quotas of an owner: seconds of computation in a day, and bytes of files that are kept.

Seconds are those of the usage ledger: how long stages computed for the owner's ended runs of this day (UTC). Of runs in
hand, the seconds that they are expected to take count. Bytes are a running total that triggers keep.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import UNFINISHED
from acestep_flows.api.store.schema import RUNS, STORED, TOTALS, USAGE
from acestep_flows.errors import QuotaExceeded

DAY = 86_400

LONGEST_WAIT = 3600.0
"""Largest Retry-After of a quota of bytes, which frees when files are deleted or expire."""


@dataclass(frozen=True)
class Quotas:
    """What one owner may use. None is no limit.

    Attributes:
        compute_seconds: seconds of computation in a day (UTC).
        bytes: of uploads and outputs whose files are kept. Content that two of them share counts twice.
    """

    compute_seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Used:
    """What an owner has used.

    Attributes:
        compute_seconds: of runs that ended today (UTC).
        expected_seconds: of runs in hand, as far as it is known what they take.
        bytes: of files that are kept.
    """

    compute_seconds: float
    expected_seconds: float
    bytes: int


class QuotaTable:
    """What owners have used, and whether they may use more. The methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def used(self, owner: str) -> Used:
        """What an owner has used until now."""
        with self._database.read() as connection:
            done, expected = _seconds(connection, owner, self._clock())
            return Used(done, expected, _bytes(connection, owner))

    def stored(self) -> dict[str, int]:
        """Bytes of the files that each owner keeps, by name."""
        total = func.sum(TOTALS.c.amount)
        query = select(TOTALS.c.owner, total).where(TOTALS.c.name == STORED).group_by(TOTALS.c.owner)
        with self._database.read() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query.order_by(TOTALS.c.owner)) if row[1]}

    def check_run(self, owner: str, quotas: Quotas) -> None:
        """Refuse another run if a quota is used up.

        Raises:
            QuotaExceeded: it is; the error says what is used, what is allowed, and when some is free again.
        """
        if quotas == Quotas():
            return
        with self._database.read() as connection:
            now = self._clock()
            if quotas.compute_seconds is not None:
                done, expected = _seconds(connection, owner, now)
                if done + expected >= quotas.compute_seconds:
                    raise _no_seconds(done, expected, quotas.compute_seconds, now)
            if quotas.bytes is not None and (kept := _bytes(connection, owner)) >= quotas.bytes:
                raise _no_bytes(kept, 0, quotas.bytes)

    def check_upload(self, owner: str, quotas: Quotas, size: int) -> None:
        """Refuse an upload of `size` bytes that does not fit into the quota.

        Raises:
            QuotaExceeded: it does not.
        """
        if quotas.bytes is None:
            return
        with self._database.read() as connection:
            kept = _bytes(connection, owner)
        if kept + size > quotas.bytes:
            raise _no_bytes(kept, size, quotas.bytes)


def _seconds(connection: Connection, owner: str, now: float) -> tuple[float, float]:
    """Seconds of computation of an owner today, and those that its runs in hand are expected to take."""
    today = select(USAGE.c.compute_seconds).where(USAGE.c.owner == owner, USAGE.c.day == int(now // DAY))
    in_hand = RUNS.c.owner == owner, RUNS.c.state.in_(UNFINISHED)
    expected = select(func.sum(RUNS.c.expected_seconds)).where(*in_hand)
    done = connection.execute(today).scalar_one_or_none()
    return float(done or 0.0), float(connection.execute(expected).scalar_one() or 0.0)


def _bytes(connection: Connection, owner: str) -> int:
    kept = select(func.sum(TOTALS.c.amount)).where(TOTALS.c.name == STORED, TOTALS.c.owner == owner)
    return int(connection.execute(kept).scalar_one() or 0)


def _no_seconds(done: float, expected: float, allowed: float, now: float) -> QuotaExceeded:
    until_midnight = DAY - now % DAY
    hours, minutes = divmod(int(until_midnight // 60), 60)
    in_hand = f", and {expected:.0f} more are expected of runs in hand" if expected >= 1 else ""
    return QuotaExceeded(
        f"{done:.0f} of {allowed:.0f} seconds of computation of this key are used today{in_hand}; "
        f"they are free again at 00:00 UTC, in {hours} h {minutes} min",
        retry_after=until_midnight,
    )


def _no_bytes(kept: int, more: int, allowed: int) -> QuotaExceeded:
    fits = f", and {more} more do not fit" if more else ""
    return QuotaExceeded(
        f"{kept} of {allowed} bytes of files of this key are used{fits}; some are free when you delete runs or files, "
        "or when their time is over",
        retry_after=LONGEST_WAIT,
    )
