"""The client for programs that wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from acestep_flows.client import api_request
from acestep_flows.client.api_request import ApiRequest
from acestep_flows.client.connection import (
    ALL_TOLD,
    PATIENCE,
    SERVER,
    ServerAddress,
    body,
    content,
    landing,
    settled,
    unheard,
    upload_request,
)
from acestep_flows.client.download_file import ResumableFile
from acestep_flows.client.feed import Feed
from acestep_flows.client.records import Asset, Run, RunEvent
from acestep_flows.client.retry import RunPoll


class Client:
    """A server, to be asked. Closes its connections when its context ends.

    Args:
        server: its address.
        key: API key, where it wants one.
        patience: seconds to go on trying while it does not answer.
        transport: for tests: httpx's own way to reach something that is no server.

    Raises:
        InputError: no address, or no key.

    Every method raises `Unreachable` when patience is over, and the FlowsError that the server tells of.
    """

    def __init__(
        self,
        server: str = SERVER,
        key: str | None = None,
        *,
        patience: float = PATIENCE,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._link = ServerAddress(server, key, patience)
        self._http = httpx.Client(transport=transport, **self._link.settings())

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
        listed: list[dict[str, Any]] = self._ask(api_request.graphs())["graphs"]
        return listed

    def graph(self, name: str) -> dict[str, Any]:
        """What a graph takes (`inputs`, a JSON Schema), does and gives."""
        told: dict[str, Any] = self._ask(api_request.graph(name))
        return told

    def check(self, content: Mapping[str, Any] | str) -> dict[str, Any]:
        """Check a graph of one's own, as JSON or YAML text: `ok` and `problems`."""
        told: dict[str, Any] = self._ask(api_request.check(content))
        return told

    def plan(self, graph: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What a run would do, without doing it."""
        told: dict[str, Any] = self._ask(api_request.plan(graph, self._uploaded(inputs or {})))
        return told

    def submit(self, graph: str | Mapping[str, Any], inputs: Mapping[str, Any] | None = None, **options: Any) -> Run:
        """Have a graph run; when this returns, the server has it on disk.

        Args:
            graph: by name, or as JSON where the server allows it.
            inputs: as the graph says. Where it wants audio or latents: an `Asset`, an `Output` of a run, an asset's id,
                or a `Path`, which is uploaded.
            options: `priority`, `deadline` (seconds), `cache` (use, refresh, off), `format` (flac, wav, mp3, ogg),
                `preview_every` (steps), `webhook`, `idempotency_key`.
        """
        return Run.read(self._ask(api_request.submit(graph, self._uploaded(inputs or {}), options)))

    def status(self, run: str) -> Run:
        """A run as it stands."""
        return Run.read(self._ask(api_request.status(run)))

    def runs(
        self, *, state: str | None = None, graph: str | None = None, limit: int = 50, after: str | None = None
    ) -> tuple[list[Run], str | None]:
        """A page of runs, the newest first, and what to give as `after` for the next one."""
        page = self._ask(api_request.runs(state, graph, limit, after))
        return [Run.read(run) for run in page["runs"]], page.get("next")

    def cancel(self, run: str) -> Run:
        """Stop a run, at its next step boundary where it is under way."""
        return Run.read(self._ask(api_request.cancel(run)))

    def preview(self, run: str, node: str) -> bytes:
        """The latest preview of a node, a WAV file: how the song would sound, if it were over now.

        There are some in runs that were submitted with `preview_every`; an event `preview` tells of each.

        Raises:
            NotFound: there is none yet, or none any more.
        """
        heard: bytes = self._ask(api_request.preview(run, node), body)
        return heard

    def stats(self) -> dict[str, Any]:
        """What the server is at: runs by state, streams, and what every process says of itself."""
        told: dict[str, Any] = self._ask(api_request.stats())
        return told

    def events(self, run: str, after: int = 0) -> Iterator[RunEvent]:
        """What happens to a run, up to its last event; goes on where it was when the connection is lost.

        Args:
            after: `seq` of the last event already known.
        """
        feed, patience = Feed(after), self._link.fresh_patience()
        while not feed.over:
            reason: object = "the stream of events ends early"
            try:
                with self._http.stream("GET", api_request.events_path(run), headers=feed.headers()) as response:
                    if not response.is_success:
                        response.read()
                    if settled(response):
                        for piece in response.iter_raw():
                            patience.renew()
                            yield from feed.read(piece)
                        if response.status_code == ALL_TOLD:
                            return
            except httpx.TransportError as error:
                reason = error
            if not feed.over:
                time.sleep(patience.pause(reason))

    def wait(self, run: str, timeout: float | None = None) -> Run:
        """The run when it is over, however it ended (`Run.failure`).

        Raises:
            TimeoutError: it is not over yet; it goes on.
        """
        vigil = RunPoll(run, timeout)
        while not (found := Run.read(self._ask(api_request.status(run, vigil.hold())))).ended:
            time.sleep(vigil.pause(found.state))
        return found

    def fetch_output(self, run: str, name: str, to: Path, on_bytes: Callable[[int, int], None] = unheard) -> Path:
        """Bring an output here: whole or not at all, and from where it was when the connection is lost.

        Args:
            to: a file, or a folder that is there.
            on_bytes: told of bytes that came and bytes in all.

        Returns:
            The file.
        """
        output, file = landing(self.status(run), name, to)
        patience = self._link.fresh_patience()
        while True:
            try:
                if self._land(api_request.output_path(run, name), file, lambda done: on_bytes(done, output.bytes)):
                    return file.finish()
                reason: object = "no bytes come"
            except httpx.TransportError as error:
                reason = error
            if file.advanced:
                patience.renew()
            time.sleep(patience.pause(reason))

    def upload_asset(self, path: Path) -> Asset:
        """Bring a file to the server, as an input of runs."""
        return Asset.read(self._again(lambda: self._upload(path)))

    def _upload(self, path: Path) -> httpx.Response:
        request = upload_request(path)
        with path.open("rb") as file:
            return self._http.post("/v1/assets", content=file, **request)

    def _uploaded(self, inputs: Any) -> Any:
        """Inputs with an asset for every path."""
        if isinstance(inputs, Path):
            return self.upload_asset(inputs)
        if isinstance(inputs, Mapping):
            return {name: self._uploaded(part) for name, part in inputs.items()}
        if isinstance(inputs, Sequence) and not isinstance(inputs, str):
            return [self._uploaded(part) for part in inputs]
        return inputs

    def _land(self, path: str, file: ResumableFile, on_bytes: Callable[[int], None]) -> bool:
        with self._http.stream("GET", path, headers=file.headers()) as response:
            if not response.is_success:
                response.read()
            if not settled(response):
                return False
            if file.begin(response.status_code, response.headers):
                for piece in response.iter_raw():
                    on_bytes(file.write(piece))
        return True

    def _ask(self, call: ApiRequest, read: Callable[[httpx.Response], Any] = content) -> Any:
        return self._again(lambda: self._http.request(call.method, call.path, json=call.body, params=call.query), read)

    def _again(self, send: Callable[[], httpx.Response], read: Callable[[httpx.Response], Any] = content) -> Any:
        """What `read` finds in the answer to a request, made as often as it takes."""
        patience = self._link.fresh_patience()
        while True:
            try:
                response = send()
                if settled(response):
                    return read(response)
                reason: object = f"status {response.status_code}"
            except httpx.TransportError as error:
                reason = error
            time.sleep(patience.pause(reason))
