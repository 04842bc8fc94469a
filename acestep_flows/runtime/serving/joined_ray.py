"""A Ray cluster that runs already, joined while a server lives. Only what the server started there leaves with it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from acestep_flows import storage
from acestep_flows.errors import FlowsError, InputError
from acestep_flows.graph.language.wording import clip
from acestep_flows.lazy_imports import garbage_collection_paused
from acestep_flows.runtime.serving.local_ray import in_short, within
from acestep_flows.runtime.serving.packing import NodeRoom, Packing, demands_of
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.ray_environment import set_environment

NAME = "serve-app"
"""In a home folder: the name of its application in a cluster. A server that was killed finds its own again."""

AUTO = "auto"
"""In place of an address: RAY_ADDRESS, else the cluster that `ray start` began on this machine."""

CONNECT_SECONDS = 5.0
GONE_SECONDS = 40.0
"""How long the control store may be away. After a minute Ray would end this process without a word."""

LOOK_SECONDS = 1.0
LEAVE_SECONDS = 60.0
TELL_SECONDS = 60.0
"""Seconds between two lines about what a pool waits for."""


class JoinedRay:
    """A cluster that this process has joined.

    Args:
        store: host and port of its control store.
    """

    def __init__(self, store: tuple[str, int]) -> None:
        self._store = store
        self._away_since: float | None = None
        self._left = threading.Event()
        threading.Thread(target=self._look, name="cluster watch", daemon=True).start()

    def processes(self) -> set[psutil.Process]:
        """None: its processes are not this one's to kill."""
        return set()

    def problem(self) -> str:
        """Why it does not work now; empty if its control store answers."""
        return "" if self._away_since is None else f"the Ray cluster at {self._address} does not answer"

    def fault(self) -> str:
        """Why it is given up; empty if it is not."""
        away = 0.0 if self._away_since is None else time.monotonic() - self._away_since
        return f"the Ray cluster at {self._address} has not answered for {away:.0f} s" if away > GONE_SECONDS else ""

    def kill(self) -> None:
        """Nothing: what runs there is ended by the cluster."""

    def leave(self) -> None:
        """Watch it no more."""
        self._left.set()

    @property
    def _address(self) -> str:
        return f"{self._store[0]}:{self._store[1]}"

    def _look(self) -> None:
        while not self._left.wait(LOOK_SECONDS):
            if _answers(self._store):
                self._away_since = None
            else:
                self._away_since = self._away_since or time.monotonic()


@contextlib.contextmanager
def joined_ray(address: str, app: str) -> Iterator[JoinedRay]:
    """Join a cluster, with Serve on it. At the end the application leaves it, and the cluster goes on.

    Args:
        address: host and port of its control store, or `auto`. This machine must be one of the cluster.
        app: name of the application.

    Raises:
        InputError: the address is none.
        FlowsError: no cluster answers there, or Serve does not start on it.
    """
    _check(address)
    set_environment(joins=True)
    with garbage_collection_paused():
        import ray
        from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, _skip_env_hook=True)
    except Exception as error:  # Ray raises many kinds, also bare ones
        raise FlowsError(f"--ray {address}: no cluster that this machine belongs to: {in_short(error)}") from error
    host, _, port = str(ray.get_runtime_context().gcs_address).rpartition(":")
    joined = JoinedRay((host, int(port)))
    try:
        try:
            serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR", "enable_access_log": False})
        except (ray.exceptions.RayError, RuntimeError, TimeoutError) as error:
            raise FlowsError(f"--ray {address}: Serve does not start there: {in_short(error)}") from error
        yield joined
    finally:
        joined.leave()
        within(LEAVE_SECONDS, lambda: _leave(app))


def app_name(home: Path) -> str:
    """The name of a home folder's application in a cluster; made with the first server that joins one.

    Raises:
        StorageError: it cannot be written.
    """
    path = home / NAME
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if re.fullmatch(r"acestep-flows-[0-9a-f]{8}", name := path.read_text().strip()):
            return name
    name = f"acestep-flows-{secrets.token_hex(4)}"
    storage.write(path, f"{name}\n".encode())
    return name


@contextlib.contextmanager
def telling_room(pool: Pool, tell: Callable[[str], None]) -> Iterator[None]:
    """Tell what a pool waits for on the cluster: at once, and again every minute while the context lasts."""
    over = threading.Event()

    def look() -> None:
        while True:
            with contextlib.suppress(Exception):  # a cluster that does not answer is told by others
                if line := waiting_for(pool):
                    tell(line)
            if over.wait(TELL_SECONDS):
                return

    threading.Thread(target=look, name="room", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def waiting_for(pool: Pool) -> str:
    """What the cluster lacks for a pool, in a line for people; empty if it has room."""
    demands, whole, free = demands_of(pool), *_nodes()
    if missing := Packing(demands, whole).missing():
        return f"warning: the cluster is too small for pool {pool.name}: {missing}; it waits until machines are added"
    if missing := Packing(demands, free).missing():
        return f"warning: the cluster has no room for pool {pool.name} now: {missing}; it waits until others end"
    return ""


def _nodes() -> tuple[list[NodeRoom], list[NodeRoom]]:
    """The machines of the cluster, with all that they have, and with what is free."""
    ray, state = (importlib.import_module(name) for name in ("ray", "ray._private.state"))
    free = state.available_resources_per_node()
    alive = [node for node in ray.nodes() if node["Alive"]]
    names = [node["NodeManagerHostname"] if len(alive) == 1 else node["NodeManagerAddress"] for node in alive]
    whole = [NodeRoom(name, node["Resources"], node["Labels"]) for name, node in zip(names, alive, strict=True)]
    left = [
        NodeRoom(name, free.get(node["NodeID"], {}), node["Labels"]) for name, node in zip(names, alive, strict=True)
    ]
    return whole, left


def _check(address: str) -> None:
    """Refuse what is no address, and one where nothing listens: Ray itself would ask for a minute.

    Raises:
        InputError: it is none.
        FlowsError: nothing listens there.
    """
    if address == AUTO:
        return
    host, separator, port = address.rpartition(":")
    if "://" in address or not (separator and host and port.isdecimal() and 0 < int(port) < 65536):
        allowed = "HOST:PORT of the cluster's control store (6379 by default), or auto"
        raise InputError(f"{clip(address, 100)!r} is no address of a cluster", where="--ray", allowed=allowed)
    if not _answers((host.strip("[]"), int(port))):
        raise FlowsError(f"--ray {address}: nothing listens there")


def _answers(store: tuple[str, int]) -> bool:
    try:
        socket.create_connection(store, CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _leave(app: str) -> None:
    import ray
    from ray import serve

    with contextlib.suppress(Exception):  # the cluster may be gone, and with it the application
        serve.delete(app)
    ray.shutdown()
