"""The whole server on one machine: Ray with the pool's processes, the run table, an executor, and HTTP.

HTTP and the executor run in this process, stages run in processes of their own, and all state is in the home folder.
If a stage's process dies, its calls are repeated. If this process dies, accepted runs continue after a restart from
their finished nodes, and unfinished songs from their last saved state.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import threading
from collections.abc import Callable, Iterator

from acestep_flows.api.execution.webhook_signature import signing_key
from acestep_flows.api.http.keys import check_host, read_keys
from acestep_flows.api.server.options import ServerOptions
from acestep_flows.api.store.home import Home
from acestep_flows.errors import InputError
from acestep_flows.lazy_imports import garbage_collection_paused
from acestep_flows.runtime.serving.local_ray import deploy, local_ray, set_environment
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.settings import Settings

HTTP_PROCESS = "acestep_flows.api.server.http_process"


def serve_forever(options: ServerOptions, settings: Settings, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        on_ready: called once with a line for people that has the address.

    Raises:
        InputError: the address, the pool or another option is not usable.
        CheckpointError: the weights are not usable.
        StorageError: the home folder is not usable.
        FlowsError: the pool does not start.
    """
    keys = read_keys(settings)
    check_host(options.host, keys)
    if settings.webhook_secret is not None:
        signing_key(settings.webhook_secret)  # refused now rather than after the pool's start
    pool = Pool.read(options.pool)
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(_bound(options.host, options.port))
        home = Home.open(options.home, database=options.database, artifacts=options.artifacts)
        stack.callback(home.close)
        # The HTTP process takes seconds to import. A thread does that while this one waits for Ray.
        set_environment()  # first, because that thread imports Ray too
        threading.Thread(target=_import_http_process, daemon=True).start()
        stack.enter_context(local_ray(pool.cpus, pool.gpus))
        runner = deploy({"pool": pool, "home": home.root})
        stack.callback(runner.close)
        from acestep_flows.api.server.http_process import HttpProcess

        http_process = HttpProcess(options, settings, keys, pool, home, runner)
        asyncio.run(http_process.run(listening, on_ready))


def _import_http_process() -> None:
    with garbage_collection_paused():
        importlib.import_module(HTTP_PROCESS)


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """Bind the address before anything else starts. Early connections are refused, since it does not listen yet.

    Raises:
        InputError: the address cannot be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{host}:{port}: {reason}", where="--host, --port", allowed="a free address") from None
    with bound:
        yield bound
