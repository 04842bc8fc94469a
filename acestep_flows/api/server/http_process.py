"""The process of `acestep-flows serve`: HTTP and the executor on one event loop.

It takes seconds to import, so it is a module of its own: `server` imports it while the pool starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import uvicorn

from acestep_flows.api.http.app import create_app
from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.server.address import hold, url_of
from acestep_flows.api.server.assembly import assemble
from acestep_flows.api.server.connections import ConnectionLimits, http_config, lengthen_queue, within_descriptors
from acestep_flows.api.server.options import ServerOptions
from acestep_flows.api.server.pool_fault import SIGNAL_SECONDS, no_use
from acestep_flows.api.store.home import Home
from acestep_flows.compat.mount import AtPorts, mount
from acestep_flows.compat.spoken import family_path
from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.settings import Settings

if TYPE_CHECKING:
    from acestep_flows.runtime.serving.pool_watch import PoolWatch
    from acestep_flows.runtime.serving.runner import ServeRunner

HANG_UP_SECONDS = 2
"""How long open requests may continue once no run is running. Event streams and waiting requests end at once."""


class HttpProcess:
    """HTTP and the executor on one event loop, in front of a running pool."""

    def __init__(
        self,
        options: ServerOptions,
        settings: Settings,
        keys: Keyring,
        pool: Pool,
        home: Home,
        runner: ServeRunner,
        tell: Callable[[str], None] = lambda line: None,
        watch: PoolWatch | None = None,
    ) -> None:
        self._options, self._keys, self._tell, self._watch = options, keys, tell, watch
        self._stop_requested, self._signalled, self._pool_ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        parts = assemble(home, pool, runner, settings, keys, options, self._reason_not_ready)
        self._scheduler, self._executor, self._service = parts.scheduler, parts.executor, parts.service

    async def run(
        self,
        listening: socket.socket,
        on_ready: Callable[[str, str], None],
        show: Callable[[str], None] = lambda address: None,
        doors: Mapping[str, socket.socket] = MappingProxyType({}),
    ) -> None:
        """Serve until SIGTERM or SIGINT, or until the executor, HTTP or the pool ends.

        Args:
            listening: a bound socket.
            on_ready: called once with a line for people and the address, which is in it.
            show: called after it with the address of the page, if the page is served.
            doors: bound sockets of families that have a port of their own, by name.

        Raises:
            FlowsError: the pool ended and cannot be replaced, and no signal had requested the stop.
        """
        app = create_app(self._service)
        mount(app)
        sockets = [listening, *doors.values()]
        config = http_config(
            AtPorts(app, {door.getsockname()[1]: name for name, door in doors.items()}),
            within_descriptors(ConnectionLimits()),
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=HANG_UP_SECONDS,
            server_header=False,
        )

        def ready() -> None:
            for each in sockets:
                lengthen_queue(each)
            on_ready(self._greeting(listening, doors), url_of(listening))
            if self._options.studio:
                show(studio_address(listening))

        http = _UvicornServer(config, ready)
        for each in sockets:
            hold(each, alone=False)
        with self._signals(), self._watching():
            executor = asyncio.create_task(self._executor.run())
            serving = asyncio.create_task(http.serve(sockets))
            stop = asyncio.create_task(self._stop_requested.wait())
            await asyncio.wait([executor, serving, stop], return_when=asyncio.FIRST_COMPLETED)
            self._stop_requested.set()
            if failed := await self._has_failed():
                await self._executor.drain()
            else:
                self._tell(self._farewell())
                # HTTP continues while runs drain, so that clients that wait for a run see its end.
                await self._drain()
            self._service.notifier.close()  # event streams and waiting requests end by themselves
            http.should_exit = True
            await asyncio.gather(executor, serving)
            await asyncio.to_thread(self._scheduler.timings.save)
        if failed:
            raise FlowsError(no_use(self._fault))

    async def _has_failed(self) -> bool:
        """Whether the pool ended by itself. Service managers send SIGTERM to Ray's processes as well."""
        if self._fault:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._signalled.wait(), SIGNAL_SECONDS)
        return bool(self._fault) and not self._signalled.is_set()

    async def _drain(self) -> None:
        """Let active runs continue for the time that the options give, but not longer than the pool lives."""
        drained = asyncio.create_task(self._executor.drain(self._options.drain))
        ended = asyncio.create_task(self._pool_ended.wait())
        await asyncio.wait([drained, ended], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not drained.done():
            drained.cancel()
            await self._executor.drain()

    @property
    def _fault(self) -> str:
        return self._watch.fault if self._watch is not None else ""

    def _reason_not_ready(self) -> str:
        if self._stop_requested.is_set():
            return self._fault or "the server is ending"
        return self._watch.problem() if self._watch is not None else ""

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        """Watch the pool; a fault of it requests the stop."""
        if self._watch is None:
            yield
            return
        loop = asyncio.get_running_loop()

        def stop(fault: str) -> None:
            loop.call_soon_threadsafe(self._pool_ended.set)
            loop.call_soon_threadsafe(self._stop_requested.set)

        with self._watch.watching(stop):
            yield

    def _farewell(self) -> str:
        active, seconds = len(self._executor.active_runs), self._options.drain
        if not active or not seconds:
            return "stopping"
        return f"stopping; {active} run{'s' if active > 1 else ''} under way may use {seconds:g} s more"

    def _greeting(self, listening: socket.socket, doors: Mapping[str, socket.socket]) -> str:
        restriction = "" if self._keys else "; without API keys, from this machine only"
        page = f"; studio at {studio_address(listening)}" if self._options.studio else ""
        addresses = {
            name: url_of(doors[name]) if name in doors else f"{url_of(listening)}{family_path(name)}"
            for name in self._service.options.speak
        }
        spoken = "".join(f"; {name} at {address}" for name, address in addresses.items())
        return f"ready at {url_of(listening)}{page}{spoken}{restriction}"

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle SIGTERM and SIGINT: the first one requests the stop, further ones change nothing."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._signalled.set()
            self._stop_requested.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def studio_address(listening: socket.socket) -> str:
    """The address of the page on a server that listens here."""
    return f"{url_of(listening)}/studio/"


class _UvicornServer(uvicorn.Server):
    """Reports when it listens, and does not handle signals."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
