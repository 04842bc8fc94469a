"""The events of all runs of a caller as server-sent events. The id of an event counts over all runs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from acestep_flows.api.execution.run_notifier import EVERY_RUN
from acestep_flows.api.http.dependencies import Caller, Streams, in_thread, is_signed_in
from acestep_flows.api.http.errors import Redactor
from acestep_flows.api.http.event_stream import CLOSING, HEARTBEAT, RETRY, event_data, told_event
from acestep_flows.api.http.long_poll import wait_for_news
from acestep_flows.api.service import Service
from acestep_flows.api.store.records import NumberedEvent

PAUSE = 0.05
"""Seconds between two reads of the table, so that fast steps of many runs are read together."""


def encode_numbered(event: NumberedEvent, redact: Redactor) -> bytes:
    """One event in the format of server-sent events."""
    return _encode(event.number, event.event.type, {"run": event.run, **event_data(event.event, redact)})


async def follow_all(service: Service, streams: Streams, caller: Caller, after: int) -> AsyncIterator[bytes]:
    """Yield the events of all of a caller's runs after number `after`, and heartbeats in between.

    It ends with the caller's browser session, where there is one, and with the event `closing` when the server stops.

    The first event, `ready`, has the number to resume after, also for a client that sees no other.
    """
    async with streams.hold(caller.owner), service.news.watched():
        yield f"retry: {RETRY}\n\n".encode() + _encode(after, "ready", {})
        last_sent = time.monotonic()
        while True:
            news = service.notifier.listen(EVERY_RUN)
            if not await is_signed_in(service, caller):
                return
            events, after = await in_thread(service.home.feed.read, caller.visible_owner, after)
            for event in events:
                yield encode_numbered(replace(event, event=told_event(event.event, service)), service.redact)
            if events:
                last_sent = time.monotonic()
                await asyncio.sleep(PAUSE)
                continue
            if service.notifier.closed:
                yield CLOSING
                return
            if time.monotonic() - last_sent > HEARTBEAT:
                yield b": still here\n\n"
                last_sent = time.monotonic()
            await wait_for_news(news, caller)


def _encode(number: int, type: str, body: dict[str, Any]) -> bytes:
    data = {"number": number, "type": type, **body}
    return f"id: {number}\nevent: {type}\ndata: {json.dumps(data)}\n\n".encode()
