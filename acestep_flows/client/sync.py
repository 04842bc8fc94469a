"""The synchronous client."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
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


def blocking(make: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    """The method of `Client` that makes a call, sends it, and returns what it reads."""

    @functools.wraps(make)
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._answer(make(*args, **kwargs))

    method.__signature__ = method_signature(make)  # type: ignore[attr-defined]
    return method


class Client(ServerClient):
    """A client of one server. It is a context manager that closes its connections.

    Every method raises `Unreachable` if the server does not answer for `patience` seconds, `Overloaded` if it is busy
    for that long (`RateLimited` if this caller asks for too much), and any other FlowsError that the server reports. A
    closed client raises `InputError`. A warning is logged when a method has waited for a second.

    Args:
        server: URL of the server; None: ACESTEP_FLOWS_SERVER, else http://127.0.0.1:8777.
        key: API key, if the server requires one; None: ACESTEP_FLOWS_API_KEY. An empty text sends none.
        patience: seconds to retry while the server does not answer, or says to come again later (429, 503).
        transport: transport of httpx2, for tests.

    Raises:
        InputError: the URL, the key or the patience is not usable.
        TypeError: an argument does not exist; it says which one was meant.
    """

    def __init__(
        self,
        server: str | None = None,
        key: str | None = None,
        *,
        patience: float = PATIENCE,
        transport: httpx2.BaseTransport | None = None,
        **unknown: Any,
    ) -> None:
        refuse_arguments("Client", unknown)
        self._server = ServerAddress.find(server, key, patience)
        self._http = httpx2.Client(transport=transport, **self._server.httpx2_options())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    graphs = blocking(calls.graphs)
    graph = blocking(calls.graph)
    check = blocking(calls.check)
    plan = blocking(calls.plan)
    submit = blocking(calls.submit)
    status = blocking(calls.status)
    runs_page = blocking(calls.runs_page)
    cancel = blocking(calls.cancel)
    preview = blocking(calls.preview)
    stats = blocking(calls.stats)
    label = blocking(library_calls.label)
    forget = blocking(library_calls.forget)
    delete_output = blocking(library_calls.delete_output)
    delete_asset = blocking(library_calls.delete_asset)
    assets_page = blocking(library_calls.assets_page)
    usage = blocking(library_calls.usage)
    me = blocking(library_calls.me)
    model = blocking(library_calls.model)
    adapters = blocking(library_calls.adapters)
    controls = blocking(library_calls.controls)
    presets = blocking(library_calls.presets)
    examples = blocking(library_calls.examples)
    output_in = blocking(library_calls.output_in)
    peaks = blocking(library_calls.peaks)
    link = blocking(library_calls.link)
    queue = blocking(operator_calls.queue)
    pause_queue = blocking(operator_calls.pause_queue)
    resume_queue = blocking(operator_calls.resume_queue)
    drain_server = blocking(operator_calls.drain_server)
    undrain_server = blocking(operator_calls.undrain_server)
    audit_page = blocking(operator_calls.audit_page)
    api_keys = blocking(operator_calls.api_keys)

    def runs(
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
    ) -> Iterator[Run]:
        """Yield runs, newest first. Pages are asked for as they are needed. `runs_page` has one page.

        Args:
            label: `NAME` or `NAME:TEXT`; several must all match.
            created_after: accepted at this time or later; without an offset it is UTC.
            created_before: accepted before this time.
            inputs: whether the runs have their inputs; otherwise those are None.
            limit: most runs in all; None is every run.
            after: only runs behind this one in the list.
        """
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
            yield from pages.turn(page(**pages.query()))

    def assets(self, *, limit: int | None = None, after: str | None = None) -> Iterator[Asset]:
        """Yield uploads, newest first. Arguments as for `runs`; `assets_page` has one page."""
        pages = PageTurner[Asset, str](limit, after)
        while not pages.over:
            yield from pages.turn(self.assets_page(**pages.query()))

    def audit(
        self,
        *,
        who: str | None = None,
        action: str | None = None,
        since: date | None = None,
        until: date | None = None,
        limit: int | None = None,
    ) -> Iterator[AuditedAction]:
        """Yield the audit log: who did what, newest first. Pages are asked for as they are needed.

        Args:
            who: name of a key.
            action: an action, such as `run.deleted`, or all of a kind, such as `run`.
            since, until: days (UTC), inclusive.
            limit: most actions in all; None is every one.
        """
        pages = PageTurner[AuditedAction, int](limit, None)
        page = functools.partial(self.audit_page, who=who, action=action, since=since, until=until)
        while not pages.over:
            query = pages.query()
            yield from pages.turn(page(limit=query["limit"], before=query["after"]))

    def events(self, run: Run | str, after: int = 0) -> Iterator[RunEvent]:
        """Yield the events of a run up to its last one. Resumes after a lost connection.

        Args:
            after: `seq` of the last event that you have.
        """
        return self._follow(calls.events_path(run), Feed(after))

    def all_events(self, after: int | None = None) -> Iterator[NumberedRunEvent]:
        """Yield the events of all of the caller's runs, without end. Resumes after a lost connection.

        The first event is `ready`: runs that are listed after it miss nothing.

        Args:
            after: `number` of the last event that you have; None begins now.
        """
        return self._follow("/v1/events", NumberedFeed(after))

    def wait(self, run: Run | str, timeout: float | None = None) -> Run:
        """Wait until a run has ended, in whatever state. `Run.failure` is its error.

        Args:
            timeout: seconds; None waits without limit.

        Raises:
            InputError: the timeout is no number, or below 0.
            TimedOut: the run has not ended within `timeout`. It goes on, and can be waited for again. This is a
                TimeoutError, too.
        """
        poll = RunPoll(calls.run_id(run), timeout)
        while not (record := self._answer(calls.held_status(run, poll.hold()))).ended:
            time.sleep(poll.pause(record.state))
        return record

    def fetch_output(
        self, run: Run | str, name: str, to: Path | str, on_bytes: Callable[[int, int], None] = ignore_progress
    ) -> Path:
        """Download an output. Resumes after a lost connection; an incomplete file never gets its final name.

        Args:
            to: a file, or an existing folder. A file that ends in another audio format gets the output in that one.
            on_bytes: called with the bytes received so far and in all (0 where that is not known).

        Returns:
            The path of the file.

        Raises:
            NotFound: the run has no such output, or none at all, because it has not ended, failed or was cancelled. The
                message says which, and `allowed` has the outputs that there are.
            StorageError: the file cannot be written.
        """
        download = OutputDownload.open(self.status(run), name, Path(to))
        retries = self._server.retry_budget()
        while True:
            try:
                reason = self._download(download, on_bytes)
            except httpx2.TransportError as error:
                reason = error
            if reason is None:
                return download.file.finish()
            if download.file.advanced:
                retries.renew()
            time.sleep(retries.pause(reason))

    def upload_asset(self, path: Path | str) -> Asset:
        """Upload a file with audio or latents, for inputs of runs."""
        path = Path(path)
        with faults_in(str(path)):
            return Asset.read(self._retry(lambda: self._upload(path), json_object))

    def _upload(self, path: Path) -> httpx2.Response:
        options = upload_options(path)
        with path.open("rb") as file:
            return self._http.post("/v1/assets", content=file, **options)

    def _follow(self, path: str, feed: StreamFeed[T]) -> Iterator[T]:
        """Yield the events of a stream until it is over."""
        refuse_closed(self._http)
        retries = self._server.retry_budget()
        while not feed.over:
            reason: object = "the event stream ended early"
            try:
                with self._http.stream("GET", path, headers=feed.headers(), params=feed.query()) as response:
                    if not response.is_success:
                        response.read()
                    if (busy := reason_to_repeat(response)) is not None:
                        reason = busy
                    elif response.status_code == NO_MORE_EVENTS:
                        return
                    else:
                        for chunk in response.iter_raw():
                            retries.renew()
                            yield from feed.read(chunk)
            except httpx2.TransportError as error:
                reason = error
            if not feed.over:
                time.sleep(retries.pause(reason))

    def _download(self, download: OutputDownload, on_bytes: Callable[[int, int], None]) -> object | None:
        """Download what is missing of a file. Returns why that should be repeated, or None."""
        path, query, file = download.path, download.query, download.file
        with self._http.stream("GET", path, headers=file.headers(), params=query) as response:
            if not response.is_success:
                response.read()
            reason = reason_to_repeat(response)
            if reason is None and file.begin(response.status_code, response.headers):
                for chunk in response.iter_raw():
                    on_bytes(file.write(chunk), download.bytes)
        return reason

    def _answer(self, call: Call[T]) -> T:
        """Upload the files of a call, send it until the server answers, and read the response."""
        uploads: dict[Path, Asset] = {}
        for path, place in call.files().items():
            with faults_in(place):
                uploads[path] = self.upload_asset(path)
        ready, sent = call.with_uploads(uploads), 0

        def send() -> httpx2.Response:
            nonlocal sent
            sent += 1
            return self._http.request(ready.method, ready.path, json=ready.body, params=ready.query)

        try:
            with fields_as_given(ready.given):
                return self._retry(send, ready.read)
        except NotFound as error:
            return ready.already_done(error, sent)

    def _retry(self, send: Callable[[], httpx2.Response], read: Callable[[httpx2.Response], T]) -> T:
        """Send a request until the server answers, and read the response."""
        refuse_closed(self._http)
        retries = self._server.retry_budget()
        while True:
            try:
                response = send()
                reason = reason_to_repeat(response)
                if reason is None:
                    return read(response)
            except httpx2.TransportError as error:
                reason = error
            time.sleep(retries.pause(reason))
