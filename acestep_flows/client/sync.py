"""The synchronous client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from acestep_flows.client import api_request, library_request
from acestep_flows.client.api_request import ApiRequest
from acestep_flows.client.connection import (
    NO_MORE_EVENTS,
    PATIENCE,
    ServerAddress,
    body_bytes,
    ignore_progress,
    is_final,
    json_object,
    open_download,
    refuse_arguments,
    upload_options,
)
from acestep_flows.client.download_file import ResumableFile
from acestep_flows.client.feed import Feed
from acestep_flows.client.library import LibraryMethods
from acestep_flows.client.records import Asset, Run, RunEvent
from acestep_flows.client.retry import RunPoll

T = TypeVar("T")


class Client(LibraryMethods):
    """A client of one server. It is a context manager that closes its connections.

    Every method raises `Unreachable` if the server does not answer for `patience` seconds, and any FlowsError that the
    server reports. A warning is logged when a method has waited for a second.

    Args:
        server: URL of the server; None: ACESTEP_FLOWS_SERVER, else http://127.0.0.1:8777.
        key: API key, if the server requires one; None: ACESTEP_FLOWS_API_KEY. An empty text sends none.
        patience: seconds to retry while the server does not answer.
        transport: transport of httpx2, for tests.

    Raises:
        InputError: the URL or the key is not usable.
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

    def graphs(self) -> list[dict[str, Any]]:
        """The graphs that can be run by name: `name` and `summary` of each."""
        return list(self._request(api_request.graphs())["graphs"])

    def graph(self, name: str) -> dict[str, Any]:
        """A graph: its `inputs` (a JSON Schema), `outputs`, `nodes` and `description`."""
        return self._request(api_request.graph(name))

    def check(self, content: Mapping[str, Any] | str) -> dict[str, Any]:
        """Check a graph of your own, as JSON or YAML text. Returns `ok` and `problems`."""
        return self._request(api_request.check(content))

    def plan(self, graph: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The forecast for a run: its nodes, what is cached, and the expected seconds. Inputs as for `submit`."""
        return self._request(api_request.plan(graph, self._encoded(inputs or {})))

    def submit(self, graph: str | Mapping[str, Any], inputs: Mapping[str, Any] | None = None, **options: Any) -> Run:
        """Submit a run. When this returns, the run is on the server's disk.

        Args:
            graph: the name of a graph, or a graph as JSON if the server allows it.
            inputs: inputs by name, as in the graph's schema. For audio or latents give an `Asset`, an `Output` of a
                run, the id or the URL of an asset, or a `Path`, which is uploaded.
            options: `priority`, `deadline` (seconds), `cache` (use, refresh, off), `format` (flac, wav, mp3, ogg),
                `preview_every` (steps), `labels` (texts by name), `webhook` (a URL), `idempotency_key`.
        """
        return Run.read(self._request(api_request.submit(graph, self._encoded(inputs or {}), options)))

    def status(self, run: str) -> Run:
        """A run as it is now."""
        return Run.read(self._request(api_request.status(run)))

    def runs(
        self,
        *,
        state: str | None = None,
        graph: str | None = None,
        label: str | list[str] | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        inputs: bool = False,
        limit: int = 50,
        after: str | None = None,
    ) -> tuple[list[Run], str | None]:
        """One page of runs, newest first, and the `after` of the next page (None on the last one).

        Args:
            label: `NAME` or `NAME:TEXT`; several must all match.
            created_after: accepted at this time or later; without an offset it is UTC.
            created_before: accepted before this time.
            inputs: whether the runs have their inputs.
        """
        filters = library_request.run_filters(label, created_after, created_before, inputs)
        page = self._request(api_request.runs(limit, after, state=state, graph=graph, **filters))
        return [Run.read(run) for run in page["runs"]], page.get("next")

    def cancel(self, run: str) -> Run:
        """Cancel a run. A running one stops at its next step."""
        return Run.read(self._request(api_request.cancel(run)))

    def preview(self, run: str, node: str) -> bytes:
        """The latest preview of a node, a WAV file: how the song would sound if it ended now.

        Only runs that were submitted with `preview_every` have previews. An event `preview` announces each one.

        Raises:
            NotFound: there is no preview yet, or it was removed.
        """
        return self._retry(lambda: self._send(api_request.preview(run, node)), body_bytes)

    def stats(self) -> dict[str, Any]:
        """Statistics of the server: runs by state, open streams, and every replica of its processes."""
        return self._request(api_request.stats())

    def events(self, run: str, after: int = 0) -> Iterator[RunEvent]:
        """Yield the events of a run up to its last one. Resumes after a lost connection.

        Args:
            after: `seq` of the last event that you have.
        """
        feed, retries = Feed(after), self._server.retry_budget()
        while not feed.over:
            reason: object = "the event stream ended early"
            try:
                with self._http.stream("GET", api_request.events_path(run), headers=feed.headers()) as response:
                    if not response.is_success:
                        response.read()
                    if is_final(response):
                        for chunk in response.iter_raw():
                            retries.renew()
                            yield from feed.read(chunk)
                        if response.status_code == NO_MORE_EVENTS:
                            return
            except httpx2.TransportError as error:
                reason = error
            if not feed.over:
                time.sleep(retries.pause(reason))

    def wait(self, run: str, timeout: float | None = None) -> Run:
        """Wait until a run has ended, in whatever state. `Run.failure` is its error.

        Args:
            timeout: seconds; None waits without limit.

        Raises:
            TimeoutError: the run has not ended within `timeout`. It continues.
        """
        poll = RunPoll(run, timeout)
        while not (record := Run.read(self._request(api_request.status(run, poll.hold())))).ended:
            time.sleep(poll.pause(record.state))
        return record

    def fetch_output(
        self, run: str, name: str, to: Path, on_bytes: Callable[[int, int], None] = ignore_progress
    ) -> Path:
        """Download an output. Resumes after a lost connection; an incomplete file never gets its final name.

        Args:
            to: a file, or an existing folder.
            on_bytes: called with the bytes received so far and in all.

        Returns:
            The path of the file.
        """
        output, file = open_download(self.status(run), name, to)
        retries = self._server.retry_budget()
        while True:
            try:
                if self._download(api_request.output_path(run, name), file, lambda done: on_bytes(done, output.bytes)):
                    return file.finish()
                reason: object = "a proxy answered instead of the server"
            except httpx2.TransportError as error:
                reason = error
            if file.advanced:
                retries.renew()
            time.sleep(retries.pause(reason))

    def upload_asset(self, path: Path) -> Asset:
        """Upload a file, for inputs of runs."""
        return Asset.read(self._retry(lambda: self._upload(path), json_object))

    def _upload(self, path: Path) -> httpx2.Response:
        options = upload_options(path)
        with path.open("rb") as file:
            return self._http.post("/v1/assets", content=file, **options)

    def _encoded(self, inputs: Mapping[str, Any]) -> Any:
        """Inputs as JSON. Paths among them are uploaded."""
        uploads = {path: self.upload_asset(path) for path in dict.fromkeys(api_request.local_files(inputs))}
        return api_request.encode_inputs(inputs, uploads)

    def _download(self, path: str, file: ResumableFile, on_bytes: Callable[[int], None]) -> bool:
        """Download what is missing of a file. Returns False if a proxy answered."""
        with self._http.stream("GET", path, headers=file.headers()) as response:
            if not response.is_success:
                response.read()
            if not is_final(response):
                return False
            if file.begin(response.status_code, response.headers):
                for chunk in response.iter_raw():
                    on_bytes(file.write(chunk))
        return True

    def _request(self, request: ApiRequest) -> dict[str, Any]:
        return self._retry(lambda: self._send(request), json_object)

    def _send(self, request: ApiRequest) -> httpx2.Response:
        return self._http.request(request.method, request.path, json=request.body, params=request.query)

    def _retry(self, send: Callable[[], httpx2.Response], read: Callable[[httpx2.Response], T]) -> T:
        """Send a request until the server answers, and read the response."""
        retries = self._server.retry_budget()
        while True:
            try:
                response = send()
                if is_final(response):
                    return read(response)
                reason: object = f"status {response.status_code}"
            except httpx2.TransportError as error:
                reason = error
            time.sleep(retries.pause(reason))
