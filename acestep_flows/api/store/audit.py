"""The audit log: who did what, when, to which object. Rows are added, and never changed or removed.

Triggers of the database write `run.submitted`, `run.cancelled` and `file.uploaded`. All else calls `note` in the
transaction that they happen in. Keys appear by name only; the log has no secrets, texts or inputs of callers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from acestep_flows.api.store.database import Database
from acestep_flows.api.store.schema import AUDIT

ACTIONS = (
    *("run.submitted", "run.cancelled", "run.deleted"),
    *("file.uploaded", "file.deleted", "link.made"),
    *("session.opened", "session.ended"),
    *("key.added", "key.changed", "key.removed", "runs.adopted"),
    *("queue.paused", "queue.resumed", "server.drained", "server.resumed"),
)
"""What the log may hold."""

KEYS = ("key.added", "key.changed", "key.removed")

START = "server start"
"""Who found that keys were added, changed or removed: the server, when it read them."""


@dataclass(frozen=True)
class AuditRecord:
    """One action.

    Attributes:
        number: counts upwards, perhaps with gaps.
        time: seconds since the epoch.
        who: name of an API key; empty on a server without keys; else START, or `command line: USER`.
        object: id of a run or file, or name of a key or server.
        details: what else is known of it.
    """

    number: int
    time: float
    who: str
    action: str
    object: str
    details: Mapping[str, Any]


class Audit:
    """The log in the database. The methods block.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    def add(self, who: str, action: str, of: str, **details: Any) -> None:
        """Add an action in a transaction of its own."""
        with self._database.write_beside() as connection:
            note(connection, self._clock(), who, action, of, **details)

    def list(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 100,
        before: int | None = None,
    ) -> tuple[AuditRecord, ...]:
        """The latest actions, newest first.

        Args:
            action: one of ACTIONS, or the part before the dot.
            since: seconds since the epoch; from this time on.
            until: seconds since the epoch; before this time.
            before: only actions with a lower number: the last one of the page before.
        """
        query = select(AUDIT).order_by(AUDIT.c.number.desc()).limit(limit)
        if who is not None:
            query = query.where(AUDIT.c.who == who)
        if action is not None:
            query = query.where(AUDIT.c.action.in_([one for one in ACTIONS if action in (one, one.partition(".")[0])]))
        if since is not None:
            query = query.where(AUDIT.c.time >= since)
        if until is not None:
            query = query.where(AUDIT.c.time < until)
        if before is not None:
            query = query.where(AUDIT.c.number < before)
        with self._database.read() as connection:
            return tuple(AuditRecord(*row) for row in connection.execute(query))

    def note_keys(self, keys: Mapping[str, Mapping[str, Any]]) -> None:
        """Note which keys were added, changed and removed since the log last heard of them.

        Args:
            keys: by name, what may be told of a key. It must not be secret.
        """
        latest = select(func.max(AUDIT.c.number)).where(AUDIT.c.action.in_(KEYS)).group_by(AUDIT.c.object)
        query = select(AUDIT.c.object, AUDIT.c.details).where(
            AUDIT.c.number.in_(latest), AUDIT.c.action != "key.removed"
        )
        with self._database.write() as connection:
            known = {row.object: row.details for row in connection.execute(query)}
            now = self._clock()
            for name, details in sorted(keys.items()):
                if name not in known:
                    note(connection, now, START, "key.added", name, **details)
                elif known[name] != dict(details):
                    note(connection, now, START, "key.changed", name, **details)
            for name in sorted(known.keys() - keys.keys()):
                note(connection, now, START, "key.removed", name)


def note(connection: Connection, now: float, who: str, action: str, of: str, **details: Any) -> None:
    """Add an action to the log, in the caller's transaction."""
    note_all(connection, now, who, action, [of], **details)


def note_all(connection: Connection, now: float, who: str, action: str, of: Sequence[str], **details: Any) -> None:
    """Add the same action on several objects."""
    assert action in ACTIONS, action
    if of:
        row = {"time": now, "who": who, "action": action, "details": details}
        connection.execute(insert(AUDIT), [row | {"object": each} for each in of])
