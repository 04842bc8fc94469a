"""One request of a family: its caller, its body, and all that it may ask of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import Depends, Request

from acestep_flows.api.execution.run_notifier import wait_at_most
from acestep_flows.api.http.dependencies import Caller, Streams, in_thread, service_of
from acestep_flows.api.http.long_poll import wait_for_end
from acestep_flows.api.http.model_card import ModelCard
from acestep_flows.api.http.request_schemas import RunOptions
from acestep_flows.api.http.submission import accept_run
from acestep_flows.api.http.turns import Turn
from acestep_flows.api.store.records import AssetRecord, RunRecord
from acestep_flows.compat import links
from acestep_flows.compat.audio_source import asset_with
from acestep_flows.compat.bodies import Body, read_body
from acestep_flows.compat.callers import caller_of
from acestep_flows.compat.fields import Draft, SongRequest
from acestep_flows.compat.phases import Progress, progress_of
from acestep_flows.compat.takes import Take, takes_of
from acestep_flows.compat.unfinished import FailedRun, StillRunning, Stopping
from acestep_flows.errors import CheckpointError, InputError


class Exchange:
    """One request of a family.

    Attributes:
        request: as the framework has it.
        service: the server.
    """

    def __init__(self, request: Request) -> None:
        self.request, self.service = request, service_of(request)
        self._caller: Caller | None = None
        self._body = Body()

    @property
    def caller(self) -> Caller:
        """Who asks. `identify` comes first."""
        assert self._caller is not None, "identify first"
        return self._caller

    def identify(self, token: str | None = None) -> Caller:
        """Find out who asks, by the headers, or by a key in the body, which wins.

        Raises:
            Unauthorized, RateLimited: as `callers.caller_of`.
        """
        self._caller = caller_of(self.request, token)
        return self._caller

    # What came

    async def read_body(self) -> Body:
        """The body in any of its forms. Its files belong to nobody yet; `audio` makes them assets."""
        self._body = await read_body(self.request, self.service)
        return self._body

    async def model(self) -> ModelCard:
        """The model; without a name where its weights are elsewhere."""
        try:
            return await in_thread(self.service.model_card)
        except CheckpointError:
            return ModelCard()

    async def draft(self, graph: str = "text2music", *, strict: bool = False) -> Draft:
        """An empty draft for the model of this server."""
        return Draft(graph, await self.model(), strict=strict)

    async def audio(self, value: Any, field: str) -> str:
        """The id of the asset with the audio that a field names (`audio_source.asset_with`)."""
        return (await asset_with(value, field, self.request, self.caller, self._body)).id

    # Runs

    async def submit(
        self,
        song: Draft | SongRequest,
        *,
        webhook: str | None = None,
        webhook_events: Sequence[str] = ("completed",),
        deadline: float | None = None,
        priority: int = 0,
        preview_every: int | None = None,
    ) -> RunRecord:
        """Accept a run. Only the header `Idempotency-Key` makes two requests one.

        Args:
            webhook: address to call in the family's own form when the run has ended.
            webhook_events: when to call it: `start`, `completed`.
            deadline: seconds until the run is stopped.

        Raises:
            FlowsError: it cannot be accepted; an unusable input is named as the client named it.
        """
        song = song.song() if isinstance(song, Draft) else song
        options = RunOptions.model_validate(
            {
                "format": song.format,
                "labels": dict(song.labels),
                "webhook": webhook,
                "deadline": deadline,
                "priority": priority,
                "preview_every": preview_every,
            }
        )
        turn = Turn(self.request.app.state.turns, self.request, self.caller.owner)
        try:
            return await accept_run(
                self.service,
                self.caller,
                song.graph,
                dict(song.inputs),
                options,
                self.request.headers.get("idempotency-key"),
                turn,
                warnings=song.warnings,
                webhook={"form": self.family, "base": self.address, "events": list(webhook_events)},
                sameness=self._body.digest,
            )
        except InputError as error:
            raise song.in_client_words(error) from None

    async def run(self, id: str) -> RunRecord:
        """A run of the caller.

        Raises:
            NotFound: there is none with this id.
        """
        return await in_thread(self.service.home.runs.get, id, self.caller.visible_owner)

    async def wait(self, record: RunRecord, seconds: float | None = None) -> RunRecord:
        """The run when it has ended, or as it is after `seconds`, by default `render_seconds`.

        Raises:
            RateLimited, Overloaded: too many requests wait.
        """
        most = self.service.options.render_seconds
        streams: Streams = self.request.app.state.streams
        async with streams.hold(self.caller.owner):
            return await wait_for_end(
                self.service,
                self.caller,
                record.id,
                most if seconds is None else min(seconds, most),
                self.request.is_disconnected,
            )

    async def wait_or_fail(self, record: RunRecord) -> RunRecord:
        """The run when it has succeeded.

        Raises:
            StillRunning, Stopping: it goes on.
            FailedRun: it has failed or was cancelled.
        """
        ended = await self.wait(record)
        if not ended.state.ended:
            seconds = self.service.options.render_seconds
            if self.service.notifier.closed:
                raise Stopping(ended.id)
            raise StillRunning(ended.id, seconds)
        if ended.error is not None:
            raise FailedRun(ended)
        return ended

    async def follow(self, record: RunRecord, every: float = 2.0) -> AsyncIterator[RunRecord]:
        """The run as it is now, after each news of it, and after `every` seconds without any, up to its end.

        It ends early, with a run that has not ended, when the server stops. For streams: check that there is room with
        `check_room` before the head of the response is sent.
        """
        streams: Streams = self.request.app.state.streams
        async with streams.hold(self.caller.owner):
            while True:
                news = self.service.notifier.listen(record.id)
                record = await in_thread(self.service.home.runs.get, record.id)
                yield record
                if record.state.ended or self.service.notifier.closed:
                    return
                await wait_at_most(news, every)

    def check_room(self) -> None:
        """Refuse another stream if the caller or the server has too many.

        Raises:
            RateLimited, Overloaded: so it is.
        """
        streams: Streams = self.request.app.state.streams
        streams.check(self.caller.owner)

    async def cancel(self, record: RunRecord) -> RunRecord:
        """Stop a run: at once if it is queued, at its next step if it is running."""
        stopped = await in_thread(self.service.home.runs.cancel, record.id, self.caller.visible_owner)
        self.service.notifier.notify([record.id])
        return stopped

    async def progress(self, record: RunRecord) -> Progress:
        """How far a run is."""
        runs, silent = self.service.home.runs, self.service.keys.are_several
        return await in_thread(
            lambda: progress_of(record, runs.nodes(record.id), runs.queue_estimate(record.id, silent))
        )

    async def takes(self, record: RunRecord) -> tuple[Take, ...]:
        """The songs of a run that has succeeded, one for each seed, with links signed anew.

        Raises:
            NotFound: a file has expired.
        """
        return await in_thread(takes_of, self.service, record, self.address, self.caller.visible_owner)

    async def asset(self, id: str) -> AssetRecord:
        """An asset of the caller."""
        return await in_thread(self.service.home.assets.get, id, self.caller.visible_owner)

    # Addresses

    @property
    def family(self) -> str:
        """The name of the family."""
        return str(self.request.scope["root_path"]).rstrip("/").rpartition("/")[2]

    @property
    def root(self) -> str:
        """The path of the family as the client sees it; empty at a port of its own."""
        return links.root_path(self.request)

    @property
    def address(self) -> str:
        """The absolute address of the family."""
        return links.root_address(self.request)

    def url(self, path: str) -> str:
        """The absolute address of a path below the family's root."""
        return f"{self.address}{path}"

    async def file_path(self, asset: AssetRecord, name: str = "") -> str:
        """The path of an asset's file below the family's root, signed where the server has keys."""
        return links.file_path(asset, await links.signature(self.request, asset), name)

    async def file_url(self, asset: AssetRecord, name: str = "") -> str:
        """The absolute address of an asset's file, signed likewise."""
        return self.url(await self.file_path(asset, name))

    def redact(self, text: str) -> str:
        """A text of the server without its folders."""
        return self.service.redact(text)


async def guest(request: Request) -> Exchange:
    """An exchange whose caller is not known yet: of a family that has keys in bodies, and of routes that need none."""
    return Exchange(request)


async def exchange(request: Request) -> Exchange:
    """An exchange with its caller, by the headers."""
    one = Exchange(request)
    one.identify()
    return one


TheExchange = Annotated[Exchange, Depends(exchange)]
TheGuest = Annotated[Exchange, Depends(guest)]
