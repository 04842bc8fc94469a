"""Quotas of an owner: how many seconds its runs may compute in a day, and how many bytes its files may take.

Runs that ended today (UTC) count with the seconds that their stages computed; the usage ledger has these. Queued and
running runs count with the seconds that they are expected to compute. The bytes are a total that triggers of the
database update whenever a file is added or removed.
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
"""Retry-After of a refusal by the quota of bytes, in seconds. Nobody knows when the owner will delete a file."""


@dataclass(frozen=True)
class Quotas:
    """The limits of one owner. None is no limit.

    Attributes:
        compute_seconds: seconds that the stages of its runs may compute in a day (UTC).
        bytes: bytes that its stored uploads and outputs may take. Two files with the same content count twice.
    """

    compute_seconds: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Used:
    """What an owner uses now.

    Attributes:
        compute_seconds: seconds that stages computed for runs that ended today (UTC).
        expected_seconds: seconds that its queued and running runs are expected to compute; a run without an estimate
            adds nothing.
        bytes: bytes of its stored uploads and outputs.
    """

    compute_seconds: float
    expected_seconds: float
    bytes: int


class QuotaTable:
    """Reads what owners use, and refuses what exceeds their quotas. The methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def used(self, owner: str) -> Used:
        """What an owner uses now: seconds of today (UTC), and bytes of its stored files."""
        with self._database.read() as connection:
            done, expected = _seconds(connection, owner, self._clock())
            return Used(done, expected, _bytes(connection, owner))

    def stored(self) -> dict[str, int]:
        """Bytes of the stored files of each owner who has any, in the order of their names."""
        total = func.sum(TOTALS.c.amount)
        query = select(TOTALS.c.owner, total).where(TOTALS.c.name == STORED).group_by(TOTALS.c.owner)
        with self._database.read() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query.order_by(TOTALS.c.owner)) if row[1]}

    def check_run(self, owner: str, quotas: Quotas) -> None:
        """Refuse a new run of an owner who has reached a quota.

        Raises:
            QuotaExceeded: the seconds of today, with those expected, or the bytes have reached the quota. The message
                says what is used, what is allowed and when some is free again; `retry_after` has the seconds to wait.
        """
        if quotas == Quotas():
            return
        with self._database.read() as connection:
            now = self._clock()
            if quotas.compute_seconds is not None:
                done, expected = _seconds(connection, owner, now)
                if done + expected >= quotas.compute_seconds:
                    raise _no_seconds(done, expected, quotas.compute_seconds, now)
            if quotas.bytes is not None and (stored := _bytes(connection, owner)) >= quotas.bytes:
                raise _no_bytes(stored, 0, quotas.bytes)

    def check_upload(self, owner: str, quotas: Quotas, size: int) -> None:
        """Refuse an upload of `size` bytes that would take an owner over its quota of bytes.

        Raises:
            QuotaExceeded: the stored bytes and `size` together are more than the quota.
        """
        if quotas.bytes is None:
            return
        with self._database.read() as connection:
            stored = _bytes(connection, owner)
        if stored + size > quotas.bytes:
            raise _no_bytes(stored, size, quotas.bytes)


def _seconds(connection: Connection, owner: str, now: float) -> tuple[float, float]:
    """Seconds computed for an owner's runs that ended today, and seconds expected of its queued and running ones."""
    today = select(USAGE.c.compute_seconds).where(USAGE.c.owner == owner, USAGE.c.day == int(now // DAY))
    unfinished = RUNS.c.owner == owner, RUNS.c.state.in_(UNFINISHED)
    expected = select(func.sum(RUNS.c.expected_seconds)).where(*unfinished)
    done = connection.execute(today).scalar_one_or_none()
    return float(done or 0.0), float(connection.execute(expected).scalar_one() or 0.0)


def _bytes(connection: Connection, owner: str) -> int:
    total = select(func.sum(TOTALS.c.amount)).where(TOTALS.c.name == STORED, TOTALS.c.owner == owner)
    return int(connection.execute(total).scalar_one() or 0)


def _no_seconds(done: float, expected: float, allowed: float, now: float) -> QuotaExceeded:
    until_midnight = DAY - now % DAY
    hours, minutes = divmod(int(until_midnight // 60), 60)
    in_hand = f", and {expected:.0f} more are expected of runs in hand" if expected >= 1 else ""
    return QuotaExceeded(
        f"{done:.0f} of {allowed:.0f} seconds of computation of this key are used today{in_hand}; "
        f"they are free again at 00:00 UTC, in {hours} h {minutes} min",
        retry_after=until_midnight,
        limit="compute_seconds_per_day",
    )


def _no_bytes(stored: int, more: int, allowed: int) -> QuotaExceeded:
    fits = f", and {more} more do not fit" if more else ""
    return QuotaExceeded(
        f"{stored} of {allowed} bytes of files of this key are used{fits}; some are free when you delete runs or "
        "files, or when their time is over",
        retry_after=LONGEST_WAIT,
        limit="stored_bytes",
    )
