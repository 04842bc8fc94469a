"""The environment of Ray: what it is told by variables, and what it must not hear from those it was started with.

Ray reads most variables while it is imported and its processes inherit them, so they are set before either.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import secrets
import sys
from collections.abc import Iterator
from typing import Any

from acestep_flows.errors import FlowsError
from acestep_flows.settings import defaulted, hidden, use_no_proxy_for

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

FEWEST_DESCRIPTORS = 256
"""Descriptors that a Ray with a few processes was seen to need."""

FOREIGN = (
    "RAY_ADDRESS",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "RAY_JOB_ID",
    "RAY_JOB_SUBMISSION_ID",
    "RAY_NAMESPACE",
    "RAY_OVERRIDE_JOB_RUNTIME_ENV",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING",
    "RAY_RAYLET_PID",
    "RAY_REDIS_ADDRESS",
    "RAY_RUNTIME_ENV_HOOK",
    "RAY_SERVE_REPLICA_ID",
)
"""What a process inside a job of a Ray cluster has from it. A Ray of our own must not join that one or its job."""

_DEFAULTS = {
    # By default Ray's workers have low priority (nice 15). Here they do the work: beside any other program on the
    # machine songs would take many times as long.
    "RAY_worker_niceness": "0",
    # Serve's controller polls ten times a second, which takes a twentieth of a core from songs all the time.
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
    # On a busy machine processes need more than the usual minute until they answer, and are then given up.
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_agent_register_timeout_ms": "300000",
    "RAY_health_check_failure_threshold": "12",
    # Under `uv run`, Ray would upload the working folder, and make another environment for each of its processes.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def set_environment(*, joins: bool = False) -> None:
    """Set the variables that Ray reads while it is imported, in this process and in those it starts.

    Args:
        joins: whether a cluster will be joined, which has a token of its own or none. Ray finds it where its users put
            it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, `~/.ray/auth_token`.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    use_no_proxy_for((LOOPBACK, "localhost", "::1"))
    # Its ports can listen on every interface, so it must require a token. Once it has been imported it takes the token
    # in the user's home folder.
    if "ray" not in sys.modules and not joins:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Keep a Ray of our own to this machine, and away from any cluster that this process was started in.

    With RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=1 in the environment Ray's ports listen on every interface.

    Raises:
        FlowsError: this process is connected to a Ray already.
    """
    import ray
    from ray._private import ray_constants

    if ray.is_initialized():
        raise FlowsError("this process is connected to a Ray already; start a Ray of its own from another process")
    with hidden(FOREIGN) as found, _constants(ray_constants):
        if address := found["RAY_ADDRESS"]:
            log.warning(
                "RAY_ADDRESS=%s is not followed, a Ray of its own starts; serve and bulk have --ray ADDRESS", address
            )
        yield


@contextlib.contextmanager
def _constants(ray_constants: Any) -> Iterator[None]:
    """Tell Ray by its constants what it has read from variables by now. The processes that it starts read them anew."""
    # Where clusters are off (by default on macOS and Windows), all of Ray listens on the loopback interface alone.
    uv = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"
    with defaulted(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "0") as is_open, defaulted(uv, "0") as uploads:
        constants = {"ENABLE_RAY_CLUSTER": is_open == "1", uv: uploads == "1"}
        before = {name: getattr(ray_constants, name) for name in constants}
        try:
            for name, value in constants.items():
                setattr(ray_constants, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(ray_constants, name, value)


def check_descriptors() -> None:
    """Check that processes may have as many descriptors as Ray needs.

    Raises:
        FlowsError: they may not.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < FEWEST_DESCRIPTORS:
        what = f"a process may have {hard} open files here, and Ray needs {FEWEST_DESCRIPTORS}"
        raise FlowsError(f"{what}; raise the hard limit (ulimit -Hn)")
