"""What `acestep-flows serve` runs in its own process: HTTP and the executor, on one event loop.

A module of its own because it takes seconds to import, which the server spends while its pool comes up.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn

from acestep_flows.api.http.app import create_app
from acestep_flows.api.http.keys import Keyring
from acestep_flows.api.server.assembly import assemble
from acestep_flows.api.store.home import Home
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.settings import Settings

if TYPE_CHECKING:
    from acestep_flows.api.server.server import ServerOptions
    from acestep_flows.runtime.serving.runner import ServeRunner

HANG_UP_SECONDS = 2
"""How long open requests may go on once no run is in hand any more. Clients that follow events come again."""


class HttpProcess:
    """HTTP and the executor, on one event loop, before a pool that is up."""

    def __init__(
        self,
        options: ServerOptions,
        settings: Settings,
        keys: Keyring,
        pool: Pool,
        home: Home,
        runner: ServeRunner,
    ) -> None:
        self._options, self._keys = options, keys
        self._ending = asyncio.Event()
        made = assemble(
            home,
            pool,
            runner,
            settings,
            keys,
            folders=options.folders,
            ready=lambda: "the server is ending" if self._ending.is_set() else "",
            inline_graphs=options.inline_graphs,
            origins=options.origins,
            private_webhooks=options.private_webhooks,
        )
        self._scheduler, self._executor, self._service = made.scheduler, made.executor, made.service

    async def run(self, listening: socket.socket, on_ready: Callable[[str], None]) -> None:
        config = uvicorn.Config(
            create_app(self._service),
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=HANG_UP_SECONDS,
            server_header=False,
        )
        http = _UvicornServer(config, lambda: on_ready(self._greeting(listening)))
        with self._signals():
            executor = asyncio.create_task(self._executor.run())
            serving = asyncio.create_task(http.serve([listening]))
            asked = asyncio.create_task(self._ending.wait())
            await asyncio.wait([executor, serving, asked], return_when=asyncio.FIRST_COMPLETED)
            self._ending.set()
            # HTTP goes on meanwhile: who follows a run or waits for it hears of its end.
            await self._executor.drain(self._options.drain)
            http.should_exit = True
            await asyncio.gather(executor, serving)
            await asyncio.to_thread(self._scheduler.timings.save)

    def _greeting(self, listening: socket.socket) -> str:
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        who = "" if self._keys else "; without API keys, from this machine only"
        return f"ready at http://{shown}:{port}{who}"

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGTERM or SIGINT asks the server to end, further ones change nothing."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


class _UvicornServer(uvicorn.Server):
    """Says when it listens, and leaves signals alone."""

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
