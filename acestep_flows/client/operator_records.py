"""Responses of a server to its operators, as frozen records. Times are texts in ISO 8601."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from acestep_flows.client.records import ClientRecord


@dataclass(frozen=True)
class QueueHold(ClientRecord):
    """Why no run is started: since when, the name of the key that stopped it, and the reason in its words."""

    since: str
    who: str = ""
    reason: str = ""


@dataclass(frozen=True)
class QueueServer(ClientRecord):
    """A server that computes runs of the run table.

    Attributes:
        name: host, process and a random part. `drain_server` takes it.
        slots: runs that it computes at a time.
        runs: runs that it computes now.
        seen_at: when it last renewed its leases.
        drains: set while it starts and accepts no runs.
        this: whether it is the server that answered.
    """

    name: str
    slots: int
    runs: int
    seen_at: str = ""
    drains: QueueHold | None = None
    this: bool = False

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Read the server from JSON."""
        return super().read({**content, "drains": _hold(content.get("drains"))})


@dataclass(frozen=True)
class QueueState(ClientRecord):
    """The queue of a run table.

    Attributes:
        queued: runs that wait.
        running: runs that are computed.
        paused: set while no server starts runs.
        servers: those that compute its runs now.
        content: the whole response.
    """

    queued: int
    running: int
    paused: QueueHold | None = None
    servers: tuple[QueueServer, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Read the queue from JSON."""
        servers = tuple(QueueServer.read(server) for server in content.get("servers", ()))
        return super().read({**content, "paused": _hold(content.get("paused")), "servers": servers, "content": content})


@dataclass(frozen=True)
class AuditedAction(ClientRecord):
    """One action in the audit log.

    Attributes:
        number: counts upwards over the log, perhaps with gaps.
        time: when it happened.
        who: name of the key; empty on a server without keys; `command line: USER` for commands with `--home`.
        action: such as `run.submitted`, `key.added`, `queue.paused`.
        object: id of the run or file, or name of the key or server.
        details: what else is known of it.
    """

    number: int
    time: str
    who: str
    action: str
    object: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KeyUsage(ClientRecord):
    """What the ended runs of a key used.

    Attributes:
        runs: runs that ended, in whatever state.
        music_seconds: length of their audio outputs together.
        compute_seconds: how long their stages computed. Cached results cost nothing.
    """

    runs: int = 0
    music_seconds: float = 0.0
    compute_seconds: float = 0.0


@dataclass(frozen=True)
class KeyAccount(ClientRecord):
    """A key of the server: what it may use and has used. A limit of None is no limit.

    Attributes:
        name: of the key; None for what was made without a key.
        known: whether the server has this key now. Of a removed key only its use is known.
        operator, admin: whether it sees the numbers of the whole server; whether it may also pause, drain and the like.
        requests_per_minute, runs: limits of requests, and of queued and running runs.
        active_runs: queued and running runs now.
        compute_seconds_per_day, compute_seconds_today: limit of seconds of computation in a day (UTC); those of runs
            that ended today.
        stored_bytes, stored_bytes_now: limit of bytes of uploads and outputs; those that are kept now.
        usage: of the days that were asked for.
        content: the whole entry.
    """

    name: str | None
    known: bool
    operator: bool = False
    admin: bool = False
    requests_per_minute: int | None = None
    runs: int | None = None
    active_runs: int = 0
    compute_seconds_per_day: float | None = None
    compute_seconds_today: float = 0.0
    stored_bytes: int | None = None
    stored_bytes_now: int = 0
    usage: KeyUsage = field(default_factory=KeyUsage)
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Read the account from JSON."""
        return super().read({**content, "usage": KeyUsage.read(content.get("usage", {})), "content": content})


def _hold(content: Mapping[str, Any] | None) -> QueueHold | None:
    return None if content is None else QueueHold.read(content)
