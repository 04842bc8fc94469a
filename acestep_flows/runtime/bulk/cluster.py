"""Where a job runs: a local Ray, as the server's but without Serve, or a cluster."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from acestep_flows.errors import FlowsError
from acestep_flows.runtime.serving import local_ray

SPARE_CPUS = 2
"""Cores offered beyond those of actors, so that Ray Data's own small tasks never wait for them."""

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
    with local_ray.own_ray(cpus + SPARE_CPUS, gpus, store=store):
        yield
