"""Where a job runs: a Ray of our own on this machine, as the server has one but without Serve, or a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving import local_ray

SPARE_CPUS = 2
"""Cores that are promised beyond those of actors, so that Ray Data's own small tasks never wait for them."""

STORE_BYTES = 2**30
"""Shared memory for songs between legs; what does not fit goes to disk."""


@contextlib.contextmanager
def cluster(cpus: float, gpus: float = 0, *, address: str | None = None, store: int = STORE_BYTES) -> Iterator[None]:
    """Ray for as long as the context lasts. One that this process has already is used as it is, and stays.

    Args:
        cpus: cores to promise; more than there are is fine, they are only counted.
        gpus: GPUs to promise.
        address: of a cluster that is there already; None: a Ray of our own.
        store: bytes of shared memory for values, of our own Ray.

    Raises:
        FlowsError: no cluster answers.
    """
    local_ray.set_environment()
    # Said of every pool of actors to the terminal: that they could not be restarted if the driver were gone.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # of lost processes the job tells itself
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
    with local_ray.own_ray(cpus + SPARE_CPUS, gpus, store=store):
        yield
