"""The whole server on one machine: Ray with the pool's processes, the run table, an executor, and HTTP in front.

HTTP and the executor live in this process, stages in processes of their own, and everything that matters in the home
folder. So a stage's process that dies costs a call made again; this process killed costs a restart, after which every
accepted run goes on from its finished nodes, and a song half sampled from its last saved state.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from acestep_flows.api.app import create_app
from acestep_flows.api.assembly import assemble
from acestep_flows.api.keys import Keyring, check_host, read_keys
from acestep_flows.api.store.home import Home
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.launch import deploy, local_ray
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.settings import Settings

if TYPE_CHECKING:
    from acestep_flows.runtime.serving.runner import ServeRunner

log = logging.getLogger(__name__)

HANG_UP_SECONDS = 2
"""How long open requests may go on once no run is in hand any more. Clients that follow events come again."""


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """What `acestep-flows serve` takes.

    Attributes:
        port: 0 takes a free one.
        home: folder for all that outlives the process.
        pool: a pool file by path, or a shipped one by name.
        folders: with graphs of the operator's own.
        drain: seconds that runs in hand may go on when the server is asked to end; the rest go back to the queue. HTTP
            is answered until then, but no run is accepted.
    """

    host: str
    port: int
    home: Path
    pool: str
    folders: tuple[Path, ...] = ()
    inline_graphs: bool = False
    origins: tuple[str, ...] = ()
    database: str | None = None
    artifacts: str | None = None
    private_webhooks: bool = False
    drain: float = 5.0


def serve_forever(options: ServerOptions, settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        on_ready: told, once, in a line for people, where the server answers.

    Raises:
        InputError: the address, the pool or another option is not usable.
        CheckpointError: the weights are not.
        StorageError: the home folder is not.
        FlowsError: the pool does not come up.
    """
    keys = read_keys(settings)
    check_host(options.host, keys)
    pool = Pool.read(options.pool)
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_bound(options.host, options.port))
        home = Home.open(options.home, database=options.database, artifacts=options.artifacts)
        stack.callback(home.close)
        stack.enter_context(local_ray(pool.cpus, pool.gpus))
        runner = deploy({"pool": pool, "home": home.root})
        stack.callback(runner.close)
        server = _Server(options, settings, keys, pool, home, runner)
        asyncio.run(server.run(listening, on_ready))


class _Server:
    """HTTP and the executor, on one event loop."""

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
        http = _Http(config, lambda: on_ready(self._greeting(listening)))
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


class _Http(uvicorn.Server):
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


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """The address, taken before anything else is started; who connects early is refused, not kept waiting.

    Raises:
        InputError: it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{host}:{port}: {reason}", where="--host, --port", allowed="a free address") from None
    with taken:
        yield taken
