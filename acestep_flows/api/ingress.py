"""HTTP and an executor as a Serve deployment, in front of the pool's processes: for a Ray that runs already.

    args: {pool: gpu-pool, home: /data/home, ingress: "acestep_flows.api.ingress:ingress"}

The run table in the home folder is the record, so replicas of it may come and go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve

from acestep_flows.api.app import create_app
from acestep_flows.api.executor import Executor
from acestep_flows.api.keys import read_keys
from acestep_flows.api.options import MEGABYTE, ApiOptions
from acestep_flows.api.service import Service
from acestep_flows.api.store.home import Home
from acestep_flows.api.store.retention import Keep
from acestep_flows.errors import InputError
from acestep_flows.graph.cache import Cache
from acestep_flows.graph.disk import DiskStore
from acestep_flows.graph.scheduler import Scheduler
from acestep_flows.graph.timings import Timings
from acestep_flows.runtime.serving.pool import Pool
from acestep_flows.runtime.serving.runner import ServeRunner
from acestep_flows.settings import read_settings
from acestep_flows.stages.registry import stages

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve import Application

LEASE_SECONDS = 10.0
MEMORY_BYTES = 2**28
"""Of results kept at hand, in the object store that runs under way need, too."""

DRAIN_SECONDS = 5.0
ONGOING = 1000
"""Requests at once, those that follow events included."""


def ingress(pool: Pool, home: Path | None, hosts: Mapping[str, Application]) -> Application:
    """The deployment in front of `hosts`, by name of process.

    Raises:
        InputError: there is no home folder: accepted runs have to outlive processes.
    """
    if home is None:
        raise InputError("no home folder", where="args.home", allowed="a folder that outlives processes")
    deployment: serve.Deployment = serve.deployment(
        name="ingress",
        ray_actor_options={"num_cpus": 0.1},
        max_ongoing_requests=ONGOING,
        graceful_shutdown_timeout_s=2 * DRAIN_SECONDS,
        graceful_shutdown_wait_loop_s=0.2,
    )(Ingress)
    application: Application = deployment.bind(pool, home, dict(hosts))
    return application


@serve.ingress()
class Ingress:
    """One replica. Without API keys it answers those only who reach it as localhost."""

    def __init__(self, pool: Pool, home: Path, hosts: Mapping[str, Any]) -> None:
        settings = read_settings()
        self._home = Home.open(home, lease=LEASE_SECONDS)
        runner = ServeRunner(pool, hosts)
        cache = Cache(runner, memory=MEMORY_BYTES, store=DiskStore(self._home.results))
        scheduler = Scheduler(stages(), runner, cache, Timings(self._home.root / "timings.json"))
        self._executor = Executor(self._home, scheduler, slots=pool.limits.running, retention=Keep())
        self._service = Service(
            home=self._home,
            keys=read_keys(settings),
            options=ApiOptions(queued=pool.limits.queued, upload_bytes=pool.limits.upload_mb * MEGABYTE),
            scheduler=scheduler,
            accepted=self._executor.nudge,
            numbers=runner.stats,
            webhook_secret=settings.webhook_secret,
            hidden=[settings.cache],
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The HTTP interface; the executor works for as long as it lives."""
        app = create_app(self._service)
        inner = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
            async with inner(app) as state:
                working = asyncio.create_task(self._executor.run())
                try:
                    yield state
                finally:
                    await self._executor.drain(DRAIN_SECONDS)
                    await working
                    self._home.close()

        app.router.lifespan_context = lifespan
        return app
