"""One builder for every way of serving: the command line, `serve run` and `serve deploy`, Kubernetes.

applications:
  - name: acestep-flows
    import_path: acestep_flows.runtime.serving.deployment:build_app
    args: {pool: gpu-pool, home: /data/acestep-flows}
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import ray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ray import serve
from ray.serve import Application

from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.pool import Pool, Process
from acestep_flows.runtime.serving.ray_environment import LOOPBACK
from acestep_flows.runtime.serving.stage_host import StageHost, open_checkpoint
from acestep_flows.wording.faults import fault_line

ONGOING = 10_000
"""Calls that one replica may be given at once. They wait in the step engine, which is fair. The hard limit on accepted
work is the run table's, because Serve's own is soft and counts per caller."""

DRAIN_SECONDS = 30.0
"""Seconds that a replica which is shut down may take to finish its calls."""

HEALTH_SECONDS = 1.0
"""Seconds between health checks; a killed replica is replaced after as long."""

HANG_SECONDS = 10.0
"""Seconds that a replica may take to answer a health check. Serve replaces it after three that it did not answer."""

Ingress: TypeAlias = Callable[[Pool, "Path | None", Mapping[str, Application], Mapping[str, Any]], Application]
"""Makes the deployment in front of the hosts. Takes the pool, the home folder, the bound hosts by name of process, and
options of its own. It passes the hosts on to `bind`, so that its constructor gets their handles."""


class AppArgs(BaseModel):
    """The arguments of `build_app`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool: str | Pool = Field("local", description="A pool file by path, a shipped one by name, or a pool itself.")
    home: Path | None = Field(
        None, description="Folder for all that outlives processes; on a cluster, on storage that all machines share."
    )
    ingress: str | None = Field(
        None,
        pattern=r"^[\w.]+:\w+$",
        description="What stands in front, as `module:function` (see `Ingress`); absent: nothing answers HTTP.",
    )
    loading: Path | None = Field(None, description="File for what the processes load; absent: they do not say.")
    options: dict[str, Any] = Field({}, description="What the ingress takes beside the pool and the home folder.")


def build_app(args: dict[str, Any]) -> Application:
    """The application: a deployment for each process of the pool, and one in front of them.

    Args:
        args: the fields of `AppArgs`.

    Raises:
        InputError: the arguments, the pool or the ingress are not usable.
        CheckpointError: the weights are not usable. Checked here, once, before any process starts.
    """
    try:
        arguments = AppArgs.model_validate(args)
    except ValidationError as error:
        raise InputError(fault_line(error, AppArgs), where="args") from None
    pool = arguments.pool if isinstance(arguments.pool, Pool) else Pool.read(arguments.pool)
    open_checkpoint(pool)
    hosts = {name: host(pool, name, arguments.home, arguments.loading) for name in pool.processes}
    ingress = _anchor if arguments.ingress is None else _import_ingress(arguments.ingress)
    return ingress(pool, arguments.home, hosts, arguments.options)


def host(pool: Pool, name: str, home: Path | None, loading: Path | None = None) -> Application:
    """The deployment of one process of the pool."""
    process = pool.processes[name]
    return _bound(StageHost, _options(name, process), pool, name, home, loading)


class PoolAnchor:
    """The deployment in front where there is no ingress. It knows the pool, so that clients can make a runner."""

    def __init__(self, pool: Pool, **hosts: object) -> None:
        self._pool = pool

    async def pool(self) -> Pool:
        """The pool that the processes were started with."""
        return self._pool


def _anchor(pool: Pool, home: Path | None, hosts: Mapping[str, Application], options: Mapping[str, Any]) -> Application:
    if options:
        raise InputError("options, but no ingress", where="args.options", allowed="no options, or an ingress too")
    light = {"num_cpus": 0.01}
    return _bound(PoolAnchor, {"name": "front", "ray_actor_options": light}, pool, **hosts)


def _bound(kind: type[Any], options: Mapping[str, Any], *args: object, **kwargs: object) -> Application:
    def start(self: object, *args: object, **kwargs: object) -> None:
        keep_to_loopback()
        kind.__init__(self, *args, **kwargs)

    deployment: serve.Deployment = serve.deployment(**options)(type(kind.__name__, (kind,), {"__init__": start}))
    application: Application = deployment.bind(*args, **kwargs)
    return application


def _options(name: str, process: Process) -> dict[str, Any]:
    options: dict[str, Any] = {
        "name": name,
        "ray_actor_options": {"num_cpus": process.cpus, "num_gpus": process.gpus, **process.pins},
        "max_ongoing_requests": ONGOING,
        "health_check_period_s": HEALTH_SECONDS,
        "health_check_timeout_s": HANG_SECONDS,
        "graceful_shutdown_timeout_s": DRAIN_SECONDS,
        "graceful_shutdown_wait_loop_s": 0.2,
    }
    if process.autoscaling is None:
        return options | {"num_replicas": process.replicas}
    scaling = process.autoscaling
    return options | {
        "autoscaling_config": {
            "min_replicas": scaling.minimum,
            "max_replicas": scaling.maximum,
            "target_ongoing_requests": scaling.target,
        }
    }


def keep_to_loopback() -> None:
    """Where Ray listens on the loopback interface alone, have the replica in this process do so too.

    Serve binds a socket of each replica to every interface, once the replica's class has been made.
    """
    if ray.util.get_node_ip_address() != LOOPBACK:  # type: ignore[no-untyped-call]
        return
    replica: Any = importlib.import_module("ray.serve._private.replica")
    bind = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: bind(server, address.replace("[::]", LOOPBACK))


def _import_ingress(path: str) -> Ingress:
    module, _, name = path.partition(":")
    try:
        ingress: Ingress = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"{path}: {error}", where="args.ingress", allowed="module:function") from None
    return ingress
