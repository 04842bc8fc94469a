"""What `Client` can ask about a caller's library: labels, deletion, uploads, usage, the model, and all events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, TypeVar

import httpx2

from acestep_flows.client import library_request
from acestep_flows.client.api_request import ApiRequest
from acestep_flows.client.connection import ServerAddress, body_bytes, is_final
from acestep_flows.client.feed import NumberedFeed
from acestep_flows.client.records import Asset, NumberedRunEvent, Run
from acestep_flows.errors import NotFound

T = TypeVar("T")


class LibraryMethods:
    """Methods of `Client`, which sends the requests."""

    _server: ServerAddress
    _http: httpx2.Client

    def _request(self, request: ApiRequest) -> dict[str, Any]:
        raise NotImplementedError

    def _send(self, request: ApiRequest) -> httpx2.Response:
        raise NotImplementedError

    def _retry(self, send: Callable[[], httpx2.Response], read: Callable[[httpx2.Response], T]) -> T:
        raise NotImplementedError

    def label(self, run: str, /, **labels: str | None) -> Run:
        """Set labels of a run, such as `title="Night bus"`; None removes one. Returns the run."""
        return Run.read(self._request(library_request.change_labels(run, labels)))

    def forget(self, run: str) -> None:
        """Delete a run that has ended, with its outputs.

        Raises:
            Conflict: the run has not ended, or an unfinished run reads its outputs.
        """
        self._delete(library_request.forget(run))

    def delete_output(self, run: str, name: str) -> None:
        """Delete the file of an output. The run still lists it, as expired. Raises Conflict as `forget` does."""
        self._delete(library_request.delete_output(run, name))

    def delete_asset(self, asset: Asset | str) -> None:
        """Delete an upload. Raises Conflict as `forget` does."""
        self._delete(library_request.delete_asset(asset))

    def assets(self, *, limit: int = 50, after: str | None = None) -> tuple[list[Asset], str | None]:
        """One page of uploads, newest first, and the `after` of the next page (None on the last one)."""
        page = self._request(library_request.assets(limit, after))
        return [Asset.read(asset) for asset in page["assets"]], page.get("next")

    def usage(self, *, since: date | None = None, until: date | None = None) -> list[dict[str, Any]]:
        """What ended runs used: `owner`, `runs`, `music_seconds` and `compute_seconds`; days are inclusive."""
        return list((self._request(library_request.usage(since, until)))["usage"])

    def me(self) -> dict[str, Any]:
        """The caller: `name` of its key, limits, `active_runs` and `usage`."""
        return self._request(library_request.show("me"))

    def model(self) -> dict[str, Any]:
        """The model: `name`, `notes`, and its own `sampling` options."""
        return self._request(library_request.show("model"))

    def adapters(self) -> list[str]:
        """Names of the adapters on the server."""
        return [entry["name"] for entry in (self._request(library_request.show("adapters")))["adapters"]]

    def controls(self) -> list[str]:
        """Names of the control branches on the server."""
        return [entry["name"] for entry in (self._request(library_request.show("controls")))["controls"]]

    def presets(self) -> list[dict[str, Any]]:
        """Tags to begin with: `name`, `tags`, and the `model` that knows these words."""
        return list((self._request(library_request.show("presets")))["presets"])

    def examples(self) -> list[dict[str, Any]]:
        """Songs to begin with: `name`, `graph`, `language` and `inputs`."""
        return list((self._request(library_request.show("examples")))["examples"])

    def output_in(self, run: str, name: str, format: str) -> bytes:
        """An audio output in another format (wav, flac, mp3, ogg), as the bytes of a file."""
        return self._retry(lambda: self._send(library_request.output_in(run, name, format)), body_bytes)

    def peaks(self, run: str, name: str, per_second: int = 50) -> dict[str, Any]:
        """The waveform of an audio output: `peaks` has lowest and highest sample by turns, -127 to 127."""
        return self._request(library_request.peaks(run, name, per_second))

    def link(self, run: str, name: str, seconds: int = 7 * 86_400) -> str:
        """A link to an output that works without a key for `seconds`."""
        return str((self._request(library_request.link(run, name, seconds)))["url"])

    def all_events(self, after: int | None = None) -> Iterator[NumberedRunEvent]:
        """Yield the events of all of the caller's runs, without end. Resumes after a lost connection.

        The first event is `ready`: runs that are listed after it miss nothing.

        Args:
            after: `number` of the last event that you have; None begins now.
        """
        feed, retries = NumberedFeed(after), self._server.retry_budget()
        while True:
            reason: object = "the event stream ended"
            try:
                headers, query = feed.headers(), feed.query()
                with self._http.stream("GET", "/v1/events", headers=headers, params=query) as response:
                    if not response.is_success:
                        response.read()
                    if is_final(response):
                        for chunk in response.iter_raw():
                            retries.renew()
                            yield from feed.read(chunk)
            except httpx2.TransportError as error:
                reason = error
            time.sleep(retries.pause(reason))

    def _delete(self, request: ApiRequest) -> None:
        """Send a deletion. After a lost connection, `not found` means that it was done."""
        sent = 0

        def send() -> httpx2.Response:
            nonlocal sent
            sent += 1
            return self._send(request)

        try:
            self._retry(send, body_bytes)
        except NotFound:
            if sent == 1:
                raise
