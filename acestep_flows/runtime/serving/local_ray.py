"""A Ray on this machine for one process: quiet, separate from others, unreachable from the network, gone at the end."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from acestep_flows.errors import FlowsError, StorageError
from acestep_flows.graph.language.wording import clip
from acestep_flows.lazy_imports import garbage_collection_paused
from acestep_flows.runtime.serving import orphans
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.private_folder import new_folder
from acestep_flows.runtime.serving.ray_environment import (
    LOOPBACK,
    apart,
    check_descriptors,
    set_environment,
)

if TYPE_CHECKING:
    from acestep_flows.runtime.serving.runner import ServeRunner

log = logging.getLogger(__name__)

STORE_BYTES = 2**30
"""Bytes of shared memory for values; values that do not fit go to disk."""

FRONT_CPUS = 0.1
"""Cores that the deployment in front of the pool's processes reserves; it uses hardly any."""

STOP_SECONDS = 2.0
"""How long Ray's processes may take to end by themselves. They have nothing to save by then."""

DISCONNECT_SECONDS = 10.0
ATTEMPTS = 2
"""Attempts to start Ray."""

NODE = LOOPBACK
"""Address of Ray's own traffic."""

CORE = ("gcs_server", "raylet")
"""The processes without which Ray works no more."""

RAYLET = "RAY_RAYLET_PID"
"""Variable that Ray gives to the workers of a raylet."""

SOCKET_ROOM = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
STANDSTILL_SECONDS = 40.0
"""How long a process of Ray itself may be stopped. After a minute Ray would end this process without a word."""


@dataclass(frozen=True)
class ServeHttp:
    """Address of Serve's proxy, when an ingress answers HTTP."""

    host: str = LOOPBACK
    port: int = 8777


@contextlib.contextmanager
def own_ray(cpus: float, gpus: float = 0, *, store: int = STORE_BYTES) -> Iterator[OwnRay]:
    """Ray for as long as the context lasts; one at a time per process.

    Args:
        cpus: cores to offer; may be more than there are, because Ray only counts them.
        gpus: GPUs to offer.
        store: bytes of shared memory for values.

    Raises:
        FlowsError: Ray does not start, or cannot be started from this process.
        StorageError: there is no place for its files.
    """
    set_environment()
    check_descriptors()
    with apart():
        orphans.clear()
        own = _start(cpus, gpus, store)
        try:
            yield own
        finally:
            own.end()


class OwnRay:
    """A Ray of this process: its folder and the processes that it started."""

    def __init__(self) -> None:
        self._folder = new_folder(room=SOCKET_ROOM)
        self._myself = psutil.Process()
        self._before = set(self._myself.children())
        self._roots: set[psutil.Process] = set()
        self._known: set[psutil.Process] = set()
        self._core: dict[str, psutil.Process] = {}
        self._stopped_since: float | None = None

    def start(self, cpus: float, gpus: float, store: int) -> None:
        """Start it.

        Raises:
            Exception: a bare one, if its processes are late.
        """
        import ray

        ray.init(
            address="local",
            _temp_dir=str(self._folder.content),
            _node_ip_address=NODE,
            num_cpus=math.ceil(cpus),
            num_gpus=math.ceil(gpus),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=store,
            _skip_env_hook=True,
        )
        self._roots = set(self._myself.children()) - self._before
        self._core = {name: process for process in self._roots if (name := _name(process)) in CORE}
        self.processes()

    def end(self) -> None:
        """End its processes, and remove its folder."""
        import ray

        started = list(self.processes())
        if self.fault():
            self.kill()  # Ray's own end would wait for what has ended
        within(DISCONNECT_SECONDS, ray.shutdown)
        orphans.end(started, STOP_SECONDS, gently=False)
        self._folder.remove()

    def kill(self) -> None:
        """Kill its processes at once."""
        orphans.end([*self.processes(), *self._begun_since()], gently=False)

    def _begun_since(self) -> set[psutil.Process]:
        """Workers that a raylet began after the last note, and that are below no process of ours once it has ended."""
        found = set[psutil.Process]()
        if (raylet := self._core.get("raylet")) is not None:
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    if (
                        process.environ().get(RAYLET) == str(raylet.pid)
                        and process.create_time() >= self._myself.create_time()
                    ):
                        found.add(process)
        return found

    def processes(self) -> set[psutil.Process]:
        """Its processes so far, but no others that this one has started.

        Those of a raylet that has ended are no longer below this one, so they are kept.
        """
        known = {process for process in self._known if orphans.runs(process)}
        for root in self._roots or set(self._myself.children()) - self._before:
            with contextlib.suppress(psutil.Error):
                known |= {root, *root.children(recursive=True)}
        if known != self._known:
            self._known = known
            with contextlib.suppress(StorageError):
                orphans.note(self._folder, known)
        return known

    def fault(self) -> str:
        """Why it can work no more, although it was not ended; empty while it can."""
        if gone := [name for name, process in self._core.items() if not orphans.runs(process)]:
            return f"Ray's {gone[0]} has ended"
        if self.problem() and self._stopped_since is not None:
            stopped = time.monotonic() - self._stopped_since
            return f"Ray has stood still for {stopped:.0f} s" if stopped > STANDSTILL_SECONDS else ""
        return ""

    def problem(self) -> str:
        """Which of its processes was stopped (SIGSTOP) and may go on; empty if none."""
        for name, process in self._core.items():
            with contextlib.suppress(psutil.Error):
                if process.status() == psutil.STATUS_STOPPED:
                    self._stopped_since = self._stopped_since or time.monotonic()
                    return f"Ray's {name} stands still"
        self._stopped_since = None
        return ""


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def within(seconds: float, work: Callable[[], None]) -> None:
    """Do work that may hang, and go on without it after `seconds`."""
    thread = threading.Thread(target=work, name="end of Ray", daemon=True)
    thread.start()
    thread.join(seconds)


def in_short(error: Exception) -> str:
    """What Ray says of an error, as part of a line of ours."""
    return clip(" ".join(str(error).split()), 200)


def _start(cpus: float, gpus: float, store: int, attempts: int = ATTEMPTS) -> OwnRay:
    """Start Ray; once more where it fails, as it does on a machine that is too busy.

    Raises:
        FlowsError: it does not start.
    """
    own = OwnRay()
    try:
        own.start(cpus, gpus, store)
    except Exception as error:  # Ray raises a bare Exception when its processes are late
        own.end()
        if attempts == 1:
            reason = in_short(error)
            what = f"Ray did not start, tried {ATTEMPTS} times: is the machine too busy? The same command goes on."
            raise FlowsError(f"{what} ({type(error).__name__}: {reason})") from error
    except BaseException:
        own.end()
        raise
    else:
        return own
    log.warning("Ray did not start; it is started once more")
    return _start(cpus, gpus, store, attempts - 1)


@contextlib.contextmanager
def local_ray(
    cpus: float, gpus: float = 0, *, store: int = STORE_BYTES, http: ServeHttp | None = None
) -> Iterator[OwnRay]:
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
    with own_ray(cpus + FRONT_CPUS, gpus, store=store) as own:
        try:
            serve.start(
                proxy_location="Disabled" if http is None else "HeadOnly",
                http_options=None if http is None else {"host": http.host, "port": http.port},
                logging_config={"log_level": "ERROR", "enable_access_log": False},
            )
        except (ray.exceptions.RayError, RuntimeError, TimeoutError) as error:
            reason = in_short(error)
            what = "Ray Serve did not start: is the machine too busy? The same command goes on."
            raise FlowsError(f"{what} ({reason})") from error
        # Serve ends with its Ray. Asking it to end first takes seconds: replicas one by one, then its controller. They
        # hold nothing that is not on disk, and the next Serve of this process finds that this one is gone.
        yield own


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
