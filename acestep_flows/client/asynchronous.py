"""The asynchronous client: `Client` with coroutines."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx2

from acestep_flows.client import calls, library_calls, operator_calls
from acestep_flows.client.call import Call, json_object, method_signature
from acestep_flows.client.connection import (
    NO_MORE_EVENTS,
    PATIENCE,
    OutputDownload,
    ServerAddress,
    ServerClient,
    faults_in,
    fields_as_given,
    ignore_progress,
    reason_to_repeat,
    refuse_arguments,
    refuse_closed,
    upload_options,
)
from acestep_flows.client.feed import Feed, NumberedFeed, StreamFeed
from acestep_flows.client.operator_records import AuditedAction
from acestep_flows.client.pages import PageTurner
from acestep_flows.client.records import Asset, NumberedRunEvent, Run, RunEvent
from acestep_flows.client.retry import RunPoll
from acestep_flows.errors import NotFound

P = ParamSpec("P")
T = TypeVar("T")

CHUNK_BYTES = 1 << 18
"""Bytes of an upload that are read at a time."""


def awaiting(make: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """The method of `AsyncClient` that makes a call, sends it, and returns what it reads."""

    @functools.wraps(make)
    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._answer(make(*args, **kwargs))

    method.__signature__ = method_signature(make)  # type: ignore[attr-defined]
    return method


class AsyncClient(ServerClient):
    """An asynchronous client of one server: the methods of `Client`, as coroutines and async iterators."""

    def __init__(
        self,
        server: str | None = None,
        key: str | None = None,
        *,
        patience: float = PATIENCE,
        transport: httpx2.AsyncBaseTransport | None = None,
        **unknown: Any,
    ) -> None:
        refuse_arguments("AsyncClient", unknown)
        self._server = ServerAddress.find(server, key, patience)
        self._http = httpx2.AsyncClient(transport=transport, **self._server.httpx2_options())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    graphs = awaiting(calls.graphs)
    graph = awaiting(calls.graph)
    check = awaiting(calls.check)
    plan = awaiting(calls.plan)
    submit = awaiting(calls.submit)
    status = awaiting(calls.status)
    runs_page = awaiting(calls.runs_page)
    cancel = awaiting(calls.cancel)
    preview = awaiting(calls.preview)
    stats = awaiting(calls.stats)
    label = awaiting(library_calls.label)
    forget = awaiting(library_calls.forget)
    delete_output = awaiting(library_calls.delete_output)
    delete_asset = awaiting(library_calls.delete_asset)
    assets_page = awaiting(library_calls.assets_page)
    usage = awaiting(library_calls.usage)
    me = awaiting(library_calls.me)
    model = awaiting(library_calls.model)
    adapters = awaiting(library_calls.adapters)
    controls = awaiting(library_calls.controls)
    presets = awaiting(library_calls.presets)
    examples = awaiting(library_calls.examples)
    output_in = awaiting(library_calls.output_in)
    peaks = awaiting(library_calls.peaks)
    link = awaiting(library_calls.link)
    queue = awaiting(operator_calls.queue)
    pause_queue = awaiting(operator_calls.pause_queue)
    resume_queue = awaiting(operator_calls.resume_queue)
    drain_server = awaiting(operator_calls.drain_server)
    undrain_server = awaiting(operator_calls.undrain_server)
    audit_page = awaiting(operator_calls.audit_page)
    api_keys = awaiting(operator_calls.api_keys)

    async def runs(
        self,
        *,
        state: str | None = None,
        graph: str | None = None,
        label: str | list[str] | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        inputs: bool = False,
        limit: int | None = None,
        after: str | None = None,
    ) -> AsyncIterator[Run]:
        """As `Client.runs`, an async iterator."""
        pages = PageTurner[Run, str](limit, after)
        page = functools.partial(
            self.runs_page,
            state=state,
            graph=graph,
            label=label,
            created_after=created_after,
            created_before=created_before,
            inputs=inputs,
        )
        while not pages.over:
            for run in pages.turn(await page(**pages.query())):
                yield run

    async def assets(self, *, limit: int | None = None, after: str | None = None) -> AsyncIterator[Asset]:
        """As `Client.assets`, an async iterator."""
        pages = PageTurner[Asset, str](limit, after)
        while not pages.over:
            for asset in pages.turn(await self.assets_page(**pages.query())):
                yield asset

    async def audit(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        since: date | None = None,
        until: date | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[AuditedAction]:
        """As `Client.audit`, an async iterator."""
        pages = PageTurner[AuditedAction, int](limit, None)
        page = functools.partial(self.audit_page, who=who, action=action, since=since, until=until)
        while not pages.over:
            query = pages.query()
            for entry in pages.turn(await page(limit=query["limit"], before=query["after"])):
                yield entry

    def events(self, run: Run | str, after: int = 0) -> AsyncIterator[RunEvent]:
        """As `Client.events`, an async iterator."""
        return self._follow(calls.events_path(run), Feed(after))

    def all_events(self, after: int | None = None) -> AsyncIterator[NumberedRunEvent]:
        """As `Client.all_events`, an async iterator."""
        return self._follow("/v1/events", NumberedFeed(after))

    async def wait(self, run: Run | str, timeout: float | None = None) -> Run:
        """Wait until a run has ended, as `Client.wait` does.

        Raises:
            InputError: the timeout is no number, or below 0.
            TimedOut: the run has not ended within `timeout`. It goes on, and can be waited for again. This is a
                TimeoutError, too.
        """
        poll = RunPoll(calls.run_id(run), timeout)
        while not (record := await self._answer(calls.held_status(run, poll.hold()))).ended:
            await asyncio.sleep(poll.pause(record.state))
        return record

    async def fetch_output(
        self, run: Run | str, name: str, to: Path | str, on_bytes: Callable[[int, int], None] = ignore_progress
    ) -> Path:
        """Download an output, as `Client.fetch_output` does."""
        download = OutputDownload.open(await self.status(run), name, Path(to))
        retries = self._server.retry_budget()
        while True:
            try:
                reason = await self._download(download, on_bytes)
            except httpx2.TransportError as error:
                reason = error
            if reason is None:
                return download.file.finish()
            if download.file.advanced:
                retries.renew()
            await asyncio.sleep(retries.pause(reason))

    async def upload_asset(self, path: Path | str) -> Asset:
        """Upload a file with audio or latents, for inputs of runs."""
        path = Path(path)
        with faults_in(str(path)):
            return Asset.read(await self._retry(lambda: self._upload(path), json_object))

    async def _upload(self, path: Path) -> httpx2.Response:
        return await self._http.post("/v1/assets", content=_read_chunks(path), **upload_options(path))

    async def _follow(self, path: str, feed: StreamFeed[T]) -> AsyncIterator[T]:
        """Yield the events of a stream until it is over."""
        refuse_closed(self._http)
        retries = self._server.retry_budget()
        while not feed.over:
            reason: object = "the event stream ended early"
            try:
                async with self._http.stream("GET", path, headers=feed.headers(), params=feed.query()) as response:
                    if not response.is_success:
                        await response.aread()
                    if (busy := reason_to_repeat(response)) is not None:
                        reason = busy
                    elif response.status_code == NO_MORE_EVENTS:
                        return
                    else:
                        async for chunk in response.aiter_raw():
                            retries.renew()
                            for event in feed.read(chunk):
                                yield event
            except httpx2.TransportError as error:
                reason = error
            if not feed.over:
                await asyncio.sleep(retries.pause(reason))

    async def _download(self, download: OutputDownload, on_bytes: Callable[[int, int], None]) -> object | None:
        """Download what is missing of a file. Returns why that should be repeated, or None."""
        path, query, file = download.path, download.query, download.file
        async with self._http.stream("GET", path, headers=file.headers(), params=query) as response:
            if not response.is_success:
                await response.aread()
            reason = reason_to_repeat(response)
            if reason is None and file.begin(response.status_code, response.headers):
                async for chunk in response.aiter_raw():
                    on_bytes(file.write(chunk), download.bytes)
        return reason

    async def _answer(self, call: Call[T]) -> T:
        """Upload the files of a call, send it until the server answers, and read the response."""
        uploads: dict[Path, Asset] = {}
        for path, place in call.files().items():
            with faults_in(place):
                uploads[path] = await self.upload_asset(path)
        ready, sent = call.with_uploads(uploads), 0

        async def send() -> httpx2.Response:
            nonlocal sent
            sent += 1
            return await self._http.request(ready.method, ready.path, json=ready.body, params=ready.query)

        try:
            with fields_as_given(ready.given):
                return await self._retry(send, ready.read)
        except NotFound as error:
            return ready.already_done(error, sent)

    async def _retry(self, send: Callable[[], Awaitable[httpx2.Response]], read: Callable[[httpx2.Response], T]) -> T:
        """Send a request until the server answers, and read the response."""
        refuse_closed(self._http)
        retries = self._server.retry_budget()
        while True:
            try:
                response = await send()
                reason = reason_to_repeat(response)
                if reason is None:
                    return read(response)
            except httpx2.TransportError as error:
                reason = error
            await asyncio.sleep(retries.pause(reason))


async def _read_chunks(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
