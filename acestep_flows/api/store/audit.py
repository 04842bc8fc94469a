"""The audit log: who did what, when, to which object. Rows are added, and never changed or removed.

Triggers of the database write `run.submitted`, `run.cancelled` and `file.uploaded`. The code that does any other action
calls `note` in the same transaction. The log has the names of keys; it has no keys, texts or inputs of callers.
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
"""The actions that the log may hold."""

KEYS = ("key.added", "key.changed", "key.removed")

START = "server start"
"""`who` of actions on keys. A server notices them when it reads its keys, and does not know who did them."""


@dataclass(frozen=True)
class AuditRecord:
    """One action in the log.

    Attributes:
        number: counts upwards over the log, perhaps with gaps.
        time: seconds since the epoch.
        who: name of an API key; empty for a server without keys; START; or `command line: USER`.
        action: one of ACTIONS.
        object: id of the run or file, or name of the key or server, that was acted on.
        details: facts about the action by name, such as `graph` or `reason`.
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
        """Add an action in a transaction of its own.

        Args:
            who: as in `AuditRecord`.
            action: one of ACTIONS.
            of: the object that was acted on.
            details: facts about the action by name; JSON values.
        """
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
        """Actions in the log, newest first. Each argument that is not None narrows the list.

        Args:
            who: who acted, as in `AuditRecord`.
            action: one of ACTIONS, or the part before its dot, such as `run`.
            since: seconds since the epoch; actions at this time or later.
            until: seconds since the epoch; actions before this time.
            limit: most actions that are returned.
            before: actions with a lower number than this. For the next page, give the lowest number of this page.
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
        """Compare the keys of a server with those in the log, and add an action for each that differs.

        Args:
            keys: for each key by its name, its limits and a version that changes with the key. Nothing secret: the log
                shows it.
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
    """Add an action to the log in the transaction of `connection`. Arguments are those of `Audit.add`.

    Args:
        now: time of the action, in seconds since the epoch.
    """
    note_all(connection, now, who, action, [of], **details)


def note_all(connection: Connection, now: float, who: str, action: str, of: Sequence[str], **details: Any) -> None:
    """Add the same action on each object of `of`, as `note` does."""
    assert action in ACTIONS, action
    if of:
        row = {"time": now, "who": who, "action": action, "details": details}
        connection.execute(insert(AUDIT), [row | {"object": each} for each in of])
