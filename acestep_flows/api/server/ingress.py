"""HTTP and an executor as a Ray Serve deployment in front of the pool's processes, for an existing Ray cluster.

    args: {pool: gpu-pool, home: /data/home, ingress: "acestep_flows.api.server.ingress:ingress",
           options: {origins: ["https://studio.example.org"], database: "postgresql+psycopg://..."}}

All state is in the run table, so replicas of the deployment may start and stop at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from ray import serve

from acestep_flows.api.http.app import create_app
from acestep_flows.api.http.keys import read_keys
from acestep_flows.api.server.arenas import share_arenas
from acestep_flows.api.server.assembly import assemble
from acestep_flows.api.server.options import IngressOptions
from acestep_flows.api.store.home import Home
from acestep_flows.compat.mount import mount
from acestep_flows.errors import InputError
from acestep_flows.runtime.serving.local_ray import FRONT_CPUS
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.pool_watch import PoolWatch
from acestep_flows.runtime.serving.runner import ServeRunner
from acestep_flows.settings import DATABASE, read_settings
from acestep_flows.tracing.provider import start_provider
from acestep_flows.wording.faults import fault_line
from acestep_flows.wording.log_lines import log_to_stderr

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

LEASE_SECONDS = 10.0
STOP_SECONDS = 5.0
"""How long a replica may take to stop after its runs have drained."""
ONGOING = 1000
"""Concurrent requests of a replica, including event streams."""


def ingress(pool: Pool, home: Path | None, hosts: Mapping[str, Application], options: Mapping[str, Any]) -> Application:
    """Build the deployment in front of the pool's processes.

    Args:
        hosts: the deployments of the pool, by name of process.
        options: fields of `IngressOptions`.

    Raises:
        InputError: the home folder is missing, an option is not usable, or several replicas are to share SQLite.
    """
    if home is None:
        raise InputError("no home folder", where="args.home", allowed="a folder that outlives processes")
    try:
        checked_options = IngressOptions.model_validate(options)
    except ValidationError as error:
        raise InputError(fault_line(error, IngressOptions), where="args.options") from None
    if checked_options.replicas > 1 and not (checked_options.database or read_settings().database):
        what = f"{checked_options.replicas} replicas cannot share a SQLite file, which is for one machine"
        allowed = f"1, or a PostgreSQL database (options.database, {DATABASE})"
        raise InputError(what, where="args.options.replicas", allowed=allowed)
    deployment: serve.Deployment = serve.deployment(
        name="ingress",
        num_replicas=checked_options.replicas,
        ray_actor_options={"num_cpus": FRONT_CPUS, "resources": checked_options.resources},
        max_ongoing_requests=ONGOING,
        graceful_shutdown_timeout_s=checked_options.drain + STOP_SECONDS,
        graceful_shutdown_wait_loop_s=0.2,
    )(Ingress)
    application: Application = deployment.bind(pool, home, dict(hosts), checked_options)
    return application


@serve.ingress()
class Ingress:
    """One replica: an HTTP interface and an executor. Without API keys it answers requests to localhost only."""

    def __init__(self, pool: Pool, home: Path, hosts: Mapping[str, Any], options: IngressOptions) -> None:
        share_arenas()
        log_to_stderr(options.log_format)
        settings = read_settings()
        database, artifacts = options.database or settings.database, options.artifacts or settings.artifacts
        self._home = Home.open(home, database=database, artifacts=artifacts, lease=LEASE_SECONDS)
        start_provider(settings)
        runner = ServeRunner(pool, hosts)
        self._watch = PoolWatch(runner)
        parts = assemble(self._home, pool, runner, settings, read_keys(settings), options, self._watch.problem)
        self._executor, self._service, self._drain = parts.executor, parts.service, options.drain

    async def check_health(self) -> None:
        """Called by Serve, which replaces the replica if this raises.

        Raises:
            RuntimeError: the executor has ended, so this replica would accept runs without computing any.
        """
        if self._executor.ended:
            raise RuntimeError("the executor has ended")

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The HTTP application. Its lifespan runs the executor, and drains it at the end."""
        app = create_app(self._service)
        mount(app)
        app_lifespan = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            async with app_lifespan(app) as state:
                execution = asyncio.create_task(self._executor.run())
                try:
                    with self._watch.watching():
                        yield state
                finally:
                    try:
                        await self._executor.drain(self._drain)
                        await execution
                    finally:
                        self._home.close()

        app.router.lifespan_context = lifespan
        return app
