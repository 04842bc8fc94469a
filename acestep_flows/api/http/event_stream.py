"""The events of a run as server-sent events. A client that lost the connection resumes after its last event."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from acestep_flows.api.http.dependencies import Caller, Streams, in_thread, is_signed_in
from acestep_flows.api.http.errors import Redactor
from acestep_flows.api.http.long_poll import wait_for_news
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import ENDED, StoredEvent
from acestep_flows.errors import InputError
from acestep_flows.wording.times import utc_time

TYPE = "text/event-stream"
HEARTBEAT = 15.0  # seconds without an event after which a comment keeps the connection alive
RETRY = 2000  # milliseconds that a browser waits before it connects again
CLOSING = b'event: closing\ndata: {"type": "closing", "reason": "the server stops; connect again"}\n\n'
"""The last event of a stream that the server ends because it stops. It has no id, so clients resume before it."""


def resume_point(last_event_id: str | None, after: int) -> int:
    """The event to resume after: the header if it is given, else the query parameter.

    Raises:
        InputError: the header is not the id of an event.
    """
    if last_event_id is None or not last_event_id.strip():
        return after
    text = last_event_id.strip()
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InputError("not an event's id", where="Last-Event-ID", allowed="the id of an event of this run")
    return int(text)


def told_event(event: StoredEvent, service: Service) -> StoredEvent:
    """An event as the caller may know it: where callers share the server, a cache hit is told as a computation."""
    if event.type != "cached" or not service.keys.are_several:
        return event
    return replace(event, type="finished", body={**event.body, "type": "finished"})


def encode_event(event: StoredEvent, redact: Redactor) -> bytes:
    """One event in the format of server-sent events. JSON has no line breaks here, so its data is one line."""
    return f"id: {event.seq}\nevent: {event.type}\ndata: {json.dumps(event_data(event, redact))}\n\n".encode()


def event_data(event: StoredEvent, redact: Redactor) -> dict[str, Any]:
    """An event as JSON. `at` is its `time` in ISO 8601."""
    at = utc_time(event.time)
    return {"seq": event.seq, "type": event.type, **redact.content(event.body), "at": at}


async def follow(service: Service, streams: Streams, caller: Caller, id: str, after: int) -> AsyncIterator[bytes]:
    """Yield the events of a run after number `after`, up to the one that ends it, and heartbeats in between.

    It ends early when the caller's browser session does, and with the event `closing` when the server stops. The stream
    counts towards the share of the caller's key.
    """
    async with streams.hold(caller.owner), service.news.watched():
        yield f"retry: {RETRY}\n\n".encode()
        last_sent, ended = time.monotonic(), False
        while True:
            news = service.notifier.listen(id)
            if not await is_signed_in(service, caller):
                return
            events = await in_thread(service.home.runs.events, id, after)
            for event in events:
                yield encode_event(told_event(event, service), service.redact)
                after = event.seq
                if not event.body.get("node") and event.type in ENDED:
                    return
            if events:
                last_sent = time.monotonic()
                continue
            if ended:  # it ended before the events were read, so no more will come
                return
            if ended := await in_thread(service.home.feed.has_ended, id):
                continue
            if service.notifier.closed:
                yield CLOSING
                return
            if time.monotonic() - last_sent > HEARTBEAT:
                yield b": still here\n\n"
                last_sent = time.monotonic()
            await wait_for_news(news, caller)
