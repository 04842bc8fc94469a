"""Where a job runs: a local Ray, as the server's but without Serve, or a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving import local_ray

SPARE_CPUS = 2
"""Cores offered beyond those of actors, so that Ray Data's own small tasks never wait for them."""

STDERR = 2
"""Its file descriptor."""

STORE_BYTES = 2**30
"""Bytes of shared memory for songs between legs; songs that do not fit go to disk."""


@contextlib.contextmanager
def cluster(cpus: float, gpus: float = 0, *, address: str | None = None, store: int = STORE_BYTES) -> Iterator[None]:
    """Ray for as long as the context lasts. If this process is connected to one already, that is used and stays.

    Args:
        cpus: cores to offer; may be more than there are, because Ray only counts them.
        gpus: GPUs to offer.
        address: of a running cluster; None: a local Ray.
        store: bytes of shared memory for values, of a local Ray.

    Raises:
        FlowsError: no cluster answers.
    """
    local_ray.set_environment()
    # Otherwise Ray warns on the terminal, for every pool of actors, that it cannot be restarted without the driver.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the job reports lost processes itself
    if ray.is_initialized():
        yield
        return
    if address is not None:
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise FlowsError(f"{address}: no cluster answers: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()
        return
    with contextlib.ExitStack() as stack:
        with without_log_level_line():
            stack.enter_context(local_ray.own_ray(cpus + SPARE_CPUS, gpus, store=store))
        yield


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
