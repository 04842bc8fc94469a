"""Where a job runs: a local Ray, as the server's but without Serve, or a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving import local_ray
from acestep_flows.runtime.serving.ray_environment import set_environment
from acestep_flows.settings import variable

SPARE_CPUS = 2
"""Cores offered beyond those of actors, so that Ray Data's own small tasks never wait for them."""

STDERR = 2
"""Its file descriptor."""

STORE_BYTES = 2**30
"""Bytes of shared memory for songs between legs; songs that do not fit go to disk."""


@contextlib.contextmanager
def cluster(
    cpus: float, gpus: float = 0, *, address: str | None = None, store: int = STORE_BYTES
) -> Iterator[local_ray.OwnRay | None]:
    """Ray for as long as the context lasts. If this process is connected to one already, that is used and stays.

    Gives the Ray that was started here, or None.

    Args:
        cpus: cores to offer; may be more than there are, because Ray only counts them.
        gpus: GPUs to offer.
        address: of a running cluster; None: a local Ray.
        store: bytes of shared memory for values, of a local Ray.

    Raises:
        FlowsError: no cluster answers.
    """
    set_environment(joins=address is not None)
    # Otherwise Ray warns on the terminal, for every pool of actors, that it cannot be restarted without the driver.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray = _import_ray()

    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the job reports lost processes itself
    if ray.is_initialized():
        yield None
        return
    if address is not None:
        try:
            with _sigterm_kept():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise FlowsError(f"{address}: no cluster answers: {error}") from error
        try:
            with _silent_driver():
                yield None
        finally:
            ray.shutdown()
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(_silent_driver())  # until Ray has ended
        with without_log_level_line(), _sigterm_kept():
            own = stack.enter_context(local_ray.own_ray(cpus + SPARE_CPUS, gpus, store=store))
        yield own


def room() -> tuple[dict[str, float], dict[str, float]]:
    """What is free in the cluster that this process is connected to, and what all of it has, by Ray's names."""
    ray = _import_ray()
    return ray.available_resources(), ray.cluster_resources()


def _import_ray() -> Any:
    """Ray, so that a call before its start or after its end raises, in place of joining whatever cluster is there."""
    with contextlib.ExitStack() as stack:
        if "ray" not in sys.modules:
            stack.enter_context(variable("RAY_ENABLE_AUTO_CONNECT", "0"))
        import ray

        return ray


@contextlib.contextmanager
def _silent_driver() -> Iterator[None]:
    """Keep Ray from printing what becomes of its tasks, as when ctrl-C ends them. There is no option for it."""
    from ray._private import worker

    before = worker._worker_logs_enabled
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = before


@contextlib.contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep this process's own answer to SIGTERM, in whose place Ray puts its own: a native stack and an exit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:  # it was set from Python
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def without_log_level_line() -> Iterator[None]:
    """Keep from the terminal the line in which Ray says that its log level was set; everything else passes.

    What Python writes passes at once; what libraries in C++ write to the descriptor comes at the end.
    """
    terminal, stderr = os.dup(STDERR), sys.stderr
    with tempfile.TemporaryFile() as kept, os.fdopen(terminal, "w", buffering=1, errors="backslashreplace") as direct:
        stderr.flush()
        os.dup2(kept.fileno(), STDERR)
        if stderr.__class__.__module__ == "_io":  # not where a test or a notebook has put its own in place
            sys.stderr = direct
        try:
            yield
        finally:
            sys.stderr = stderr
            os.dup2(terminal, STDERR)
            kept.seek(0)
            for line in kept.read().splitlines(keepends=True):
                if b"RAY_BACKEND_LOG_LEVEL" not in line:
                    os.write(terminal, line)
