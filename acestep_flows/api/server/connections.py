"""Bounds on HTTP connections: how many are open at a time, and how long each may take for what it sends and reads.

A server has a descriptor for each connection, and few of them. So there is a bound below the limit of descriptors. At
the bound, a new connection takes the place of the one that has waited longest without a request; if all have requests,
it is answered with 503. Connections that send or read too slowly are closed, so slow clients do not use the bound up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

WANTED_DESCRIPTORS = 8192
"""The soft limit of descriptors is raised to this where the hard limit allows it."""

RESERVED = 256
"""Descriptors for files, databases and processes, and for connections that are accepted only to be refused."""

ACCEPTED_AT_ONCE = 32
"""Connections that are accepted in one turn of the event loop. Must be much less than RESERVED."""

QUEUED_BY_SYSTEM = 1024
FEWEST = 16
SWEEP_SECONDS = 1.0
QUIET_SECONDS = 60.0
"""A flood is over when no connection was refused for this long; the next one is logged again."""


@dataclass(frozen=True)
class ConnectionLimits:
    """What connections may take.

    Attributes:
        most: open connections at a time.
        header_seconds: from the start of a connection, or the end of a response, to the end of the next headers.
        header_bytes: bytes of a request before its body.
        headers: header fields of a request, with those after its body.
        body_seconds: time in which a body that is waited for brings at least `body_bytes`, or ends.
        read_seconds: time in which a client reads at least some of a response.
    """

    most: int = 4096
    header_seconds: float = 20.0
    header_bytes: int = 65_536
    headers: int = 200
    body_seconds: float = 30.0
    body_bytes: int = 4096
    read_seconds: float = 120.0


def within_descriptors(limits: ConnectionLimits) -> ConnectionLimits:
    """The limits with as many connections as this process has descriptors for. Raises its soft limit if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft == resource.RLIM_INFINITY:
        return limits
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    left = max(soft, wanted) - _descriptors_in_use() - RESERVED
    return replace(limits, most=max(FEWEST, min(limits.most, left)))


def http_config(app: ASGIApp, limits: ConnectionLimits, **more: Any) -> uvicorn.Config:
    """The configuration of an HTTP server with these limits."""
    connections = Connections(limits)

    class Protocol(_BoundedProtocol):
        pool = connections

    return uvicorn.Config(app, http=Protocol, ws="none", backlog=ACCEPTED_AT_ONCE, **more)


def lengthen_queue(listening: socket.socket) -> None:
    """Let the system queue more connections than are accepted at once. Call this after the server has started."""
    listening.listen(QUEUED_BY_SYSTEM)


class Connections:
    """The open connections of a server, on one event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: set[_BoundedProtocol] = set()
        # Those without a request in hand, longest waiting first: before their first request, and between two.
        self._silent: dict[_BoundedProtocol, None] = {}
        self._idle: dict[_BoundedProtocol, None] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._last_refusal = float("-inf")

    def admit(self, connection: _BoundedProtocol) -> bool:
        """Count a new connection, if need be in the place of one that waits. Returns False if there is no room."""
        if len(self._open) >= self.limits.most:
            self._tell(connection.loop.time())
            # What keeps a connection for its next request may be about to send it, so silent ones go first.
            waiting = next(iter(self._silent), None) or next(iter(self._idle), None)
            if waiting is None:
                return False
            self.remove(waiting)
            waiting.transport.close()
        self._open.add(connection)
        self._silent[connection] = None
        if self._sweeping is None:
            self._sweeping = connection.loop.call_later(SWEEP_SECONDS, self._sweep, connection.loop)
        return True

    def remove(self, connection: _BoundedProtocol) -> None:
        """Count a connection no more."""
        self._open.discard(connection)
        self.has_request(connection)

    def has_request(self, connection: _BoundedProtocol) -> None:
        """The headers of a request have come: the connection keeps its place."""
        self._silent.pop(connection, None)
        self._idle.pop(connection, None)

    def has_none(self, connection: _BoundedProtocol) -> None:
        """A response is complete: the connection waits for its next request, as the latest that does."""
        if connection in self._open:
            self._idle[connection] = None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep, loop) if self._open else None
        now = loop.time()
        for connection in tuple(self._open):
            connection.check_time(now)

    def _tell(self, now: float) -> None:
        """Log the first refusal of a flood."""
        if now - self._last_refusal > QUIET_SECONDS:
            most = self.limits.most
            log.warning("%d connections are open, which is the limit; idle ones are closed, and more are refused", most)
        self._last_refusal = now


WAITING, SENDING, READING, COMPUTING = "waiting", "sending", "reading", "computing"
"""Phases of a connection: it waits for headers, sends a body, does not read the response, or waits for the server."""


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol within the limits of `pool`."""

    pool: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._between = True
        """Whether a request is complete and the headers of the next one are not."""
        self._header_bytes = self._received = self._reads = 0
        self.headers = []
        self._mark: object = None
        self._since, self._received_before = self.loop.time(), 0
        if not self.pool.admit(self):
            self.refuse("503 Service Unavailable", "overloaded", "too many connections; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        self.pool.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        limits = self.pool.limits
        self._received += len(data)
        self._header_bytes += len(data) if self._between else 0
        super().data_received(data)
        if self._header_bytes > limits.header_bytes or len(self.headers) > limits.headers:
            self.refuse("431 Request Header Fields Too Large", "too_large", "the headers of the request are too large")

    def on_headers_complete(self) -> None:
        self._between, self._header_bytes = False, 0
        self.pool.has_request(self)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._between = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.phase == WAITING:  # else the next request came already
            self.pool.has_none(self)

    def resume_writing(self) -> None:
        self._reads += 1
        super().resume_writing()

    @property
    def phase(self) -> str:
        """What the connection does now. A body that is sent after its response is read and thrown away."""
        if self._between and getattr(self.cycle, "response_complete", True):
            return WAITING
        if self.flow.write_paused:
            return READING
        return COMPUTING if self._between or self.flow.read_paused else SENDING

    def check_time(self, now: float) -> None:
        """Close the connection if its client takes too long."""
        limits, phase = self.pool.limits, self.phase
        mark = (phase, id(self.cycle), self._reads)
        is_bringing = phase == SENDING and self._received - self._received_before >= limits.body_bytes
        if mark != self._mark or is_bringing:
            self._mark, self._since, self._received_before = mark, now, self._received
        waited = now - self._since
        if self.transport.is_closing():  # and still open: the client does not read the last words
            if waited > SWEEP_SECONDS:
                self.abort()
        elif phase == WAITING and waited > limits.header_seconds:
            if self._header_bytes:
                self.refuse("408 Request Timeout", "timeout", "the headers of the request did not come in time")
            else:
                self.transport.close()
        elif phase == SENDING and waited > limits.body_seconds:
            self.refuse("408 Request Timeout", "timeout", "the body of the request did not come in time")
        elif phase == READING and waited > limits.read_seconds:
            self.abort()

    def refuse(self, status: str, code: str, message: str) -> None:
        """Answer the request under way with an error, unless its response has begun, and close the connection."""
        if self.transport.is_closing():
            return
        if self.phase == WAITING or not self.cycle.response_started:
            body = json.dumps({"error": {"code": code, "message": message, "node": None}}).encode()
            head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            retry = "retry-after: 5\r\n" if status.startswith("503") else ""
            self.transport.write(f"{head}{retry}connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def abort(self) -> None:
        """Close the connection at once, whatever is still to be sent."""
        self.transport.abort()


def _descriptors_in_use() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 64
