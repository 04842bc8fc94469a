"""The whole server on one machine: Ray with the pool's processes, the run table, an executor, and HTTP in front.

HTTP and the executor live in this process, stages in processes of their own, and everything that matters in the home
folder. So a stage's process that dies costs a call made again; this process killed costs a restart, after which every
accepted run goes on from its finished nodes, and a song half sampled from its last saved state.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from acestep_flows.api.http.keys import check_host, read_keys
from acestep_flows.api.store.home import Home
from acestep_flows.errors import InputError
from acestep_flows.lazy_imports import garbage_collection_paused
from acestep_flows.runtime.serving.local_ray import deploy, local_ray, set_environment
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.settings import Settings

FRONT = "acestep_flows.api.server.http_process"


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
        # What answers HTTP takes seconds to import. Meanwhile Ray comes up, and this process would wait.
        set_environment()  # first: Ray is imported there, too
        threading.Thread(target=_import_front, daemon=True).start()
        stack.enter_context(local_ray(pool.cpus, pool.gpus))
        runner = deploy({"pool": pool, "home": home.root})
        stack.callback(runner.close)
        from acestep_flows.api.server.http_process import HttpProcess

        front = HttpProcess(options, settings, keys, pool, home, runner)
        asyncio.run(front.run(listening, on_ready))


def _import_front() -> None:
    with garbage_collection_paused():
        importlib.import_module(FRONT)


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
