"""A chat that is streamed, and runs that end with the request that asked for them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from anyio import CancelScope
from starlette.concurrency import iterate_in_threadpool

from acestep_flows.api.store.records import RunRecord
from acestep_flows.compat.exchange import Exchange
from acestep_flows.compat.fields import Draft
from acestep_flows.compat.openai.answers import DONE, Answer, FilledJson, chunk, event
from acestep_flows.compat.openai.errors import error_content
from acestep_flows.compat.refusal import answer_of
from acestep_flows.compat.unfinished import FailedRun, StillRunning, Stopping
from acestep_flows.errors import FlowsError

EVERY = 2.0
"""Seconds between signs of life."""


async def finished(exchange: Exchange, record: RunRecord) -> RunRecord:
    """The run when it has succeeded. It is stopped if the client goes away.

    Raises:
        FlowsError: as `Exchange.wait_or_fail`.
    """
    try:
        return await exchange.wait_or_fail(record)
    except StillRunning:
        if await exchange.request.is_disconnected():
            await stop(exchange, record)
        raise


async def stop(exchange: Exchange, record: RunRecord) -> None:
    """Stop a run whose client went away. One with an `Idempotency-Key` goes on: its client comes again."""
    if "idempotency-key" not in exchange.request.headers:
        await exchange.cancel(record)


async def chat_events(exchange: Exchange, draft: Draft, accepted: RunRecord) -> AsyncIterator[bytes]:
    """The events of a chat, from the first to the last."""
    record, model, told = accepted, draft.model.name, time.monotonic()
    try:
        yield event(chunk(record, model, {"role": "assistant", "content": "Generating music"}))
        async for record in exchange.follow(accepted, EVERY / 2):
            if not record.state.ended and time.monotonic() - told >= EVERY:
                told = time.monotonic()
                yield event(chunk(record, model, {"content": "."}))
        async for piece in _end(exchange, draft, record):
            yield piece
    except FlowsError as error:
        yield event(error_content(answer_of(error, exchange.redact, record.id)))
    finally:
        if not record.state.ended and not exchange.service.notifier.closed:
            with CancelScope(shield=True):
                await stop(exchange, record)
    yield DONE


async def _end(exchange: Exchange, draft: Draft, record: RunRecord) -> AsyncIterator[bytes]:
    """The events of a run that has ended.

    Raises:
        FlowsError: it has not succeeded.
    """
    if not record.state.ended:
        raise Stopping(record.id)
    if record.error is not None:
        raise FailedRun(record)
    model = draft.model.name
    answer, body = Answer(exchange, draft, record, await exchange.takes(record)), FilledJson()
    audio = await answer.audio(body)
    yield event(chunk(record, model, {"content": f"\n\n{answer.text}"}))
    async for piece in iterate_in_threadpool(body.pieces(chunk(record, model, {"audio": audio}), "data: ", "\n\n")):
        yield piece
    last = chunk(record, model, {}, "stop")
    yield event(last | {"warnings": list(record.warnings), "run": record.id})
