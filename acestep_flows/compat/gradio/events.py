"""The events of a session: of all its runs that have not been told to their end yet.

A run belongs to a session by a label. It is taken away with the last event, so a stream that is opened later tells only
of what is left.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from acestep_flows.api.execution.run_notifier import EVERY_RUN, wait_at_most
from acestep_flows.api.http.dependencies import Streams, in_thread
from acestep_flows.api.store.records import RunRecord
from acestep_flows.compat.exchange import Exchange
from acestep_flows.compat.gradio.answers import result
from acestep_flows.compat.phases import Phase, Progress, error_message, phase_of
from acestep_flows.errors import NotFound

LABEL = "gradio.session"
MOST_RUNS = 100
"""Runs of one session that are told of at a time, the newest first."""

EVERY, LEAST, HEARTBEAT, GRACE = 0.5, 0.05, 15.0, 1.0
"""Seconds between two looks, at most and at least; between signs of life; and from the last run to the end."""


def event(msg: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return f"data: {json.dumps({'msg': msg, **fields}, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


async def session_events(exchange: Exchange, session: str) -> AsyncIterator[bytes]:
    """The events of a session, until it has no runs left or the server stops."""
    streams: Streams = exchange.request.app.state.streams
    notifier = exchange.service.notifier
    told: dict[str, Any] = {}
    beat, busy = time.monotonic(), -GRACE
    async with streams.hold(exchange.caller.owner):
        while not notifier.closed:
            looked, news = time.monotonic(), notifier.listen(EVERY_RUN)
            if runs := await _runs(exchange, session):
                busy = looked
            elif looked - busy >= GRACE:
                break
            for record in runs:
                async for message in _news(exchange, record, told):
                    yield message
            if looked - beat >= HEARTBEAT:
                beat = looked
                yield event("heartbeat")
            await wait_at_most(news, EVERY)
            await asyncio.sleep(max(0.0, looked + LEAST - time.monotonic()))
        for id in told:
            yield _failed(id, f"the server stops; run {id} goes on when it has started again")
    yield event("close_stream", event_id=None)


async def _runs(exchange: Exchange, session: str) -> tuple[RunRecord, ...]:
    runs, owner = exchange.service.home.runs, exchange.caller.visible_owner
    page = await in_thread(lambda: runs.list(owner=owner, labels=[f"{LABEL}:{session}"], limit=MOST_RUNS))
    return tuple(reversed(page.runs))


async def _news(exchange: Exchange, record: RunRecord, told: dict[str, Any]) -> AsyncIterator[bytes]:
    """What is new about a run since it was told last."""
    id, phase = record.id, phase_of(record)
    if id not in told:
        for line in record.warnings:
            yield event("log", event_id=id, log=line, level="warning", title="Warning", duration=10, visible=True)
    if phase.ended:
        last = await _last(exchange, record)
        await in_thread(exchange.service.home.labels.change, id, {LABEL: None})
        told.pop(id, None)
        yield last
        return
    progress = await exchange.progress(record)
    before, told[id] = told.get(id), (phase, progress.position, progress.node, progress.step)
    if told[id] != before:
        for message in _moved(id, phase, progress, before is not None and before[0] == phase):
            yield message


def _moved(id: str, phase: Phase, progress: Progress, begun: bool) -> Iterator[bytes]:
    if phase is Phase.QUEUED:
        rank = progress.position or 0
        yield event("estimation", event_id=id, rank=rank, queue_size=rank + 1, rank_eta=progress.seconds)
        return
    if not begun:
        yield event("process_starts", event_id=id, eta=progress.seconds)
    if progress.node:
        steps = (
            {"index": progress.step, "length": progress.steps} if progress.steps else {"index": None, "length": None}
        )
        unit = {"unit": "steps", "progress": round(progress.fraction, 4), "desc": progress.node}
        yield event("progress", event_id=id, progress_data=[steps | unit])


async def _last(exchange: Exchange, record: RunRecord) -> bytes:
    """The last event of a run."""
    phase = phase_of(record)
    why = str(phase) if phase is Phase.CANCELLED else exchange.redact(error_message(record)) or str(phase)
    if phase is Phase.SUCCEEDED:
        try:
            data = await result(exchange, record)
        except NotFound:
            why = "its file has expired"
        else:
            output = {"data": data, "is_generating": False, "duration": record.seconds}
            return event("process_completed", event_id=record.id, output=output, success=True)
    return _failed(record.id, why)


def _failed(id: str, why: str) -> bytes:
    output = {"error": why, "title": "Error", "duration": 10, "visible": True}
    return event("process_completed", event_id=id, output=output, success=False)
