"""A Ray on this machine for one process: quiet, separate from others, unreachable from the network, gone at the end."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from acestep_flows.errors import FlowsError
from acestep_flows.graph.language.wording import clip
from acestep_flows.lazy_imports import garbage_collection_paused
from acestep_flows.runtime.serving import orphans
from acestep_flows.runtime.serving.pool import Pool

if TYPE_CHECKING:
    from acestep_flows.runtime.serving.runner import ServeRunner

log = logging.getLogger(__name__)

STORE_BYTES = 2**30
"""Bytes of shared memory for values; values that do not fit go to disk."""

FRONT_CPUS = 0.1
"""Cores that the deployment in front of the pool's processes reserves; it uses hardly any."""

STOP_SECONDS = 10.0
ATTEMPTS = 2
"""Attempts to start Ray."""

LOOPBACK = "127.0.0.1"
NODE = "127.0.0.2" if sys.platform == "linux" else None
"""Address of Ray's own traffic. In place of 127.0.0.1 Ray would take the network's address, which may change."""


@dataclass(frozen=True)
class ServeHttp:
    """Address of Serve's proxy, when an ingress answers HTTP."""

    host: str = LOOPBACK
    port: int = 8777


@contextlib.contextmanager
def own_ray(cpus: float, gpus: float = 0, *, store: int = STORE_BYTES) -> Iterator[None]:
    """Ray for as long as the context lasts; one at a time per process.

    Args:
        cpus: cores to offer; may be more than there are, because Ray only counts them.
        gpus: GPUs to offer.
        store: bytes of shared memory for values.

    Raises:
        FlowsError: Ray does not start.
    """
    set_environment()
    orphans.clear()
    node = _start(cpus, gpus, store)
    try:
        yield
    finally:
        node.end()


class _Node:
    """A Ray of this process: its folder and the processes that it started."""

    def __init__(self) -> None:
        self._folder = orphans.new_folder()
        self._myself = psutil.Process()
        self._before = set(self._myself.children(recursive=True))

    def start(self, cpus: float, gpus: float, store: int) -> None:
        import ray

        ray.init(
            address="local",
            _temp_dir=str(self._folder),
            _node_ip_address=NODE,
            num_cpus=math.ceil(cpus),
            num_gpus=math.ceil(gpus),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=store,
        )
        orphans.note(self._folder, self._started())

    def end(self) -> None:
        """End its processes, and remove its folder."""
        import ray

        started = self._started()
        ray.shutdown()
        orphans.end(list(started), STOP_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self) -> set[psutil.Process]:
        return set(self._myself.children(recursive=True)) - self._before


def _start(cpus: float, gpus: float, store: int, attempts: int = ATTEMPTS) -> _Node:
    """Start Ray; once more where it fails, as it does on a machine that is too busy.

    Raises:
        FlowsError: it does not start.
    """
    node = _Node()
    try:
        node.start(cpus, gpus, store)
    except Exception as error:  # Ray raises a bare Exception when its processes are late
        node.end()
        if attempts == 1:
            reason = clip(" ".join(str(error).split()), 200)
            what = f"Ray did not start, tried {ATTEMPTS} times: is the machine too busy? The same command goes on."
            raise FlowsError(f"{what} ({type(error).__name__}: {reason})") from error
    except BaseException:
        node.end()
        raise
    else:
        return node
    log.warning("Ray did not start; it is started once more")
    return _start(cpus, gpus, store, attempts - 1)


@contextlib.contextmanager
def local_ray(
    cpus: float, gpus: float = 0, *, store: int = STORE_BYTES, http: ServeHttp | None = None
) -> Iterator[None]:
    """As `own_ray`, with Serve.

    Args:
        cpus: cores to offer to the pool's processes; those of the deployment in front of them come on top.
        http: address to answer HTTP at; None: no HTTP.

    Raises:
        FlowsError: Ray or Serve does not start.
    """
    set_environment()
    with garbage_collection_paused():
        import ray
        from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    with own_ray(cpus + FRONT_CPUS, gpus, store=store):
        try:
            serve.start(
                proxy_location="Disabled" if http is None else "HeadOnly",
                http_options=None if http is None else {"host": http.host, "port": http.port},
                logging_config={"log_level": "ERROR", "enable_access_log": False},
            )
        except (ray.exceptions.RayError, RuntimeError, TimeoutError) as error:
            reason = clip(" ".join(str(error).split()), 200)
            what = "Ray Serve did not start: is the machine too busy? The same command goes on."
            raise FlowsError(f"{what} ({reason})") from error
        # Serve ends with its Ray. Asking it to end first takes seconds: replicas one by one, then its controller. They
        # hold nothing that is not on disk, and the next Serve of this process finds that this one is gone.
        yield


def deploy(args: dict[str, Any], app: str | None = None, route: str | None = None) -> ServeRunner:
    """Start an application and return when it is ready.

    Args:
        args: of `build_app`.
        app: its name.
        route: prefix of its HTTP routes; None: it answers no HTTP.

    Returns:
        A runner over it.

    Raises:
        InputError: the arguments, the pool or the weights are not usable.
        FlowsError: it does not start.
    """
    from ray import serve

    from acestep_flows.runtime.serving.deployment import build_app
    from acestep_flows.runtime.serving.runner import APP, ServeRunner

    pool = args.get("pool", "local")
    pool = pool if isinstance(pool, Pool) else Pool.read(pool)
    try:
        serve.run(build_app({**args, "pool": pool}), name=app or APP, route_prefix=route)
    except RuntimeError as error:
        raise FlowsError(f"pool {pool.name} does not come up: {error}") from error
    return ServeRunner.connect(pool, app or APP)


def set_environment() -> None:
    """Set the variables that Ray reads while it is imported, in this process and in those it starts."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # By default Ray's workers have low priority (nice 15). Here they do the work: beside any other program on the
    # machine songs would take many times as long.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Serve's controller polls ten times a second, which takes a twentieth of a core from songs all the time.
    os.environ.setdefault("RAY_SERVE_CONTROL_LOOP_INTERVAL_S", "0.5")
    # Its ports listen on every interface, whatever address it is given, so it must require a token. Once it has been
    # imported it takes the token in the user's home folder.
    if "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
