"""Switches that stop claims: of all servers (the queue is paused), or of one (it drains). What runs goes on to its end.

A pause outlives restarts. A drain is of one process: a server that is started again has another name, and works.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from acestep_flows.api.store.audit import note
from acestep_flows.api.store.database import Database
from acestep_flows.api.store.records import RunState
from acestep_flows.api.store.schema import EXECUTORS, QUEUE, RUNS, SWITCHES
from acestep_flows.errors import NotFound

FRESH_SECONDS = 0.5
"""How long executors and readiness use what was read. A pause stops claims after this time at the latest."""

SILENT_SECONDS = 30.0
"""A server that has not renewed its leases for this long does not work."""


@dataclass(frozen=True)
class Switch:
    """A switch that is on.

    Attributes:
        since: seconds since the epoch.
        who: turned it on; empty on a server without keys.
        reason: why, in the operator's words.
    """

    name: str
    since: float
    who: str
    reason: str

    @property
    def because(self) -> str:
        """The reason, to follow what is said of the switch; empty if there is none."""
        return f" ({self.reason})" if self.reason else ""


@dataclass(frozen=True)
class ServerRecord:
    """A server of the table, as it last renewed its leases.

    Attributes:
        name: of its executor: host, process and a random part.
        slots: runs that it computes at a time.
        seen_at: seconds since the epoch.
        runs: that it computes now.
        drain: the switch that drains it.
    """

    name: str
    slots: int
    seen_at: float
    runs: int
    drain: Switch | None


class Switches:
    """The switches in the database. The methods block, but for `known`.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        self._on: dict[str, Switch] = {}
        self._read_at = float("-inf")

    def read(self) -> dict[str, Switch]:
        """All switches that are on, by name, as they are now."""
        with self._database.read() as connection:
            self._on = {row.name: Switch(*row) for row in connection.execute(select(SWITCHES))}
        self._read_at = time.monotonic()
        return self._on

    def stops(self, executor: str) -> bool:
        """Whether an executor claims no runs now. Reads the table if the last time was FRESH_SECONDS ago."""
        on = self.read() if time.monotonic() - self._read_at > FRESH_SECONDS else self._on
        return QUEUE in on or executor in on

    def known(self, name: str) -> Switch | None:
        """A switch as it was when this process last read it; None if it was off."""
        return self._on.get(name)

    def pause(self, who: str = "", reason: str = "") -> Switch:
        """Let no server claim runs. Does nothing if the queue is paused already."""
        return self._turn_on(QUEUE, who, reason, "queue.paused")

    def resume(self, who: str = "") -> bool:
        """Let the servers claim runs again. Returns whether the queue was paused."""
        return self._turn_off(QUEUE, who, "queue.resumed")

    def drain(self, server: str, who: str = "", reason: str = "") -> Switch:
        """Let one server claim no runs. Does nothing if it drains already.

        Raises:
            NotFound: there is no such server.
        """
        self._require(server)
        return self._turn_on(server, who, reason, "server.drained")

    def undrain(self, server: str, who: str = "") -> bool:
        """Let a server claim runs again. Returns whether it drained.

        Raises:
            NotFound: there is no such server.
        """
        self._require(server)
        return self._turn_off(server, who, "server.resumed")

    def servers(self) -> tuple[ServerRecord, ...]:
        """The servers that work, by name."""
        running = RUNS.c.state == RunState.RUNNING.value
        counted = select(RUNS.c.executor, func.count()).where(running).group_by(RUNS.c.executor)
        seen = select(EXECUTORS).where(EXECUTORS.c.seen_at >= self._clock() - SILENT_SECONDS)
        on = self.read()
        with self._database.read() as connection:
            runs = {row[0]: int(row[1]) for row in connection.execute(counted)}
            rows = connection.execute(seen.order_by(EXECUTORS.c.name)).all()
        return tuple(
            ServerRecord(row.name, row.slots, row.seen_at, runs.get(row.name, 0), on.get(row.name)) for row in rows
        )

    def _require(self, server: str) -> None:
        names = [record.name for record in self.servers()]
        if server not in names:
            allowed = ", ".join(names) or "none works now"
            raise NotFound(f"no server {server[:80]!r}", allowed=allowed, field="name")

    def _turn_on(self, name: str, who: str, reason: str, action: str) -> Switch:
        with self._database.write() as connection:
            row = connection.execute(select(SWITCHES).where(SWITCHES.c.name == name)).one_or_none()
            switch = Switch(*row) if row is not None else Switch(name, self._clock(), who, reason)
            if row is None:
                _forget_servers_that_are_gone(connection)
                connection.execute(insert(SWITCHES).values(vars(switch)))
                note(connection, switch.since, who, action, name, **({"reason": reason} if reason else {}))
        self.read()
        return switch

    def _turn_off(self, name: str, who: str, action: str) -> bool:
        with self._database.write() as connection:
            was_on = connection.execute(delete(SWITCHES).where(SWITCHES.c.name == name)).rowcount > 0
            if was_on:
                note(connection, self._clock(), who, action, name)
        self.read()
        return was_on


def _forget_servers_that_are_gone(connection: Connection) -> None:
    there = select(EXECUTORS.c.name)
    connection.execute(delete(SWITCHES).where(SWITCHES.c.name != QUEUE, SWITCHES.c.name.not_in(there)))
