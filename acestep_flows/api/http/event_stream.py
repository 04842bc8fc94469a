"""What happens to a run, as server-sent events that a client takes up again where it lost them."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

from acestep_flows.api.http.dependencies import Streams, in_thread
from acestep_flows.api.http.errors import Redactor
from acestep_flows.api.http.long_poll import Pace
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import ENDED, StoredEvent
from acestep_flows.errors import InputError, NotFound

TYPE = "text/event-stream"
HEARTBEAT = 15.0  # seconds of silence after which a comment shows that the connection lives
RETRY = 2000  # milliseconds a browser waits before it connects again


def resume_point(last_event_id: str | None, after: int) -> int:
    """The event to go on after: what the header says, or else the query.

    Raises:
        InputError: not a number that was ever an id.
    """
    if last_event_id is None or not last_event_id.strip():
        return after
    text = last_event_id.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InputError("not an event's id", where="Last-Event-ID", allowed="the id of an event of this run")
    return int(text)


def framed(event: StoredEvent, redact: Redactor) -> bytes:
    """One event on the wire. JSON has no raw line ends, so its data is one line."""
    data = {"seq": event.seq, "type": event.type, **redact.content(event.body)}
    return f"id: {event.seq}\nevent: {event.type}\ndata: {json.dumps(data)}\n\n".encode()


async def follow(service: Service, streams: Streams, owner: str, id: str, after: int) -> AsyncIterator[bytes]:
    """The events of a run from `after` on, until the one that ends it; a comment now and then while nothing happens.

    Args:
        owner: who follows.
    """
    async with streams.one(owner):
        yield f"retry: {RETRY}\n\n".encode()
        pace, spoken, over = Pace(), time.monotonic(), False
        while True:
            ring = service.bell.listen(id)
            events = await in_thread(service.home.runs.events, id, after)
            for event in events:
                yield framed(event, service.redact)
                after = event.seq
                if not event.body.get("node") and event.type in ENDED:
                    return
            if events:
                spoken = time.monotonic()
                pace.something_happened()
                continue
            if over:  # it had ended before we looked: there is nothing to come, whatever the client has seen
                return
            if over := await _over(service, id):
                continue
            if time.monotonic() - spoken > HEARTBEAT:
                yield b": still here\n\n"
                spoken = time.monotonic()
            await pace.wait(ring)


async def _over(service: Service, id: str) -> bool:
    """Whether the run has ended, or retention took it while it was being followed."""
    try:
        return (await in_thread(service.home.runs.get, id)).state.ended
    except NotFound:
        return True
