"""Switches that keep servers from claiming runs. Runs that a server computes go on to their end.

The switch QUEUE pauses the queue: no server claims runs, also after restarts. The switch with the name of a server
drains that server: it claims and accepts no runs. The name is that of one process, so a server that is started again
claims runs. The query that claims runs (`claims`) reads the switches, so a switch counts from the next claim on.
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

REFRESH_SECONDS = 0.5
"""Seconds between reads by a server that works. So long may `known` differ from the table."""

SILENT_SECONDS = 30.0
"""Seconds without a renewal of leases after which a server is not listed as working."""


@dataclass(frozen=True)
class Switch:
    """A switch that is on.

    Attributes:
        name: QUEUE, or the name of the server that drains.
        since: when it was turned on, in seconds since the epoch.
        who: who turned it on: the name of a key, empty on a server without keys, or `command line: USER`.
        reason: why, in the operator's words; may be empty.
    """

    name: str
    since: float
    who: str
    reason: str

    @property
    def because(self) -> str:
        """The reason in brackets, with a space before it; empty if there is none."""
        return f" ({self.reason})" if self.reason else ""


@dataclass(frozen=True)
class ServerRecord:
    """A server that works on the run table.

    Attributes:
        name: name of its executor: host, process and a random part.
        slots: how many runs it computes at a time, at most.
        seen_at: when it last renewed its leases, in seconds since the epoch.
        runs: how many runs it computes now.
        drain: the switch that drains it; None if it claims runs.
    """

    name: str
    slots: int
    seen_at: float
    runs: int
    drain: Switch | None


class Switches:
    """Turns switches on and off, and reads them. All methods but `known` block on the database.

    Args:
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock
        self._on: dict[str, Switch] = {}

    def read(self) -> dict[str, Switch]:
        """All switches that are on, by name, as the table has them now."""
        with self._database.read() as connection:
            self._on = {row.name: Switch(*row) for row in connection.execute(select(SWITCHES))}
        return self._on

    def known(self, name: str) -> Switch | None:
        """The switch of this name as this process last read it; None if it was off. Does not block."""
        return self._on.get(name)

    def pause(self, who: str = "", reason: str = "") -> Switch:
        """Pause the queue: no server claims runs. A queue that is paused already stays as it is.

        Args:
            who: who does it, as in `Switch`.
            reason: why, in the operator's words.

        Returns:
            The switch that is on now; of a queue that was paused before, the earlier one.
        """
        return self._turn_on(QUEUE, who, reason, "queue.paused")

    def resume(self, who: str = "") -> bool:
        """Let the servers claim runs again. Returns whether the queue was paused."""
        return self._turn_off(QUEUE, who, "queue.resumed")

    def drain(self, server: str, who: str = "", reason: str = "") -> Switch:
        """Drain one server: it claims and accepts no runs. A server that drains already stays as it is.

        Args, result: as for `pause`.

        Raises:
            NotFound: no server of this name works now; `allowed` has those that do.
        """
        self._require(server)
        return self._turn_on(server, who, reason, "server.drained")

    def undrain(self, server: str, who: str = "") -> bool:
        """Let a server claim and accept runs again. Returns whether it drained.

        Raises:
            NotFound: no server of this name works now; `allowed` has those that do.
        """
        self._require(server)
        return self._turn_off(server, who, "server.resumed")

    def servers(self) -> tuple[ServerRecord, ...]:
        """The servers that renewed their leases in the last SILENT_SECONDS, in the order of their names."""
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
                _remove_switches_of_ended_servers(connection)
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


def _remove_switches_of_ended_servers(connection: Connection) -> None:
    executors = select(EXECUTORS.c.name)
    connection.execute(delete(SWITCHES).where(SWITCHES.c.name != QUEUE, SWITCHES.c.name.not_in(executors)))
